-- Makes the partitions of the log that are missing, up to some weeks ahead; returns how many were.
--   weeks
-- An advisory lock of the function lets several schedulers ask at once.
select ledger.ensure_partitions(%(weeks)s::int)
