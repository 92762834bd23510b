-- Deletes the minutes up to that of an event from the statistics: they would tell half of what happened then.
--   last_at   of the last event that leaves; null deletes nothing
-- Called while this transaction has the turn of `queue_stats`, so that no fold of an older snapshot brings them back.
delete from ledger_read.queue_minutes where minute <= %(last_at)s::timestamptz
