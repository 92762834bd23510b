-- Deletes the minutes up to that of an event from the counts of runs, as `delete_minutes` does from the statistics.
--   last_at   of the last event that leaves; null deletes nothing
-- Called while this transaction has the turn of `attempts`.
delete from ledger_read.attempt_minutes where minute <= %(last_at)s::timestamptz
