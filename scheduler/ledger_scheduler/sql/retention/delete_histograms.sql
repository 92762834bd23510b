-- Deletes the histograms of the minutes up to that of an event: see delete_minutes.
--   last_at   of the last event that leaves; null deletes nothing
delete from ledger_read.queue_histograms where minute <= %(last_at)s::timestamptz
