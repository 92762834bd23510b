-- Takes a partition out of the log; returns why not, where it must stay. The function asks for the log's exclusive lock,
-- 50 ms at a time.
--   partition, retention
select ledger.retire_partition(%(partition)s, %(retention)s::interval)
