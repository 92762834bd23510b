"""What several rooms need and no job word describes: clock, database, Redis, loops, servers for development.

Nothing here knows what a job is.
"""
