-- Makes the partition of the log for jobs born at this instant, unless it is there.
--   born
select ledger.ensure_partition(%(born)s::timestamptz)
