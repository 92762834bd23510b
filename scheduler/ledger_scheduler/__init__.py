"""What happens because time passed: due jobs, expiry, silent workers, and the upkeep of the tables.

Nothing here runs jobs or reads Redis. Candidates come from the read models, decisions from the log and its rules, and
the log's key decides between schedulers: any number may run, and none is the leader.
"""
