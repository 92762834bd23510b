-- How many rows of the read models are compared with what the log adds up to, by projection.
select
  (select count(*) from ledger_read.attempts) + (select count(*) from ledger_read.attempt_minutes) as attempts,
  (select count(*) from ledger_read.queue_counts) + (select count(*) from ledger_read.queue_minutes) as queue_stats
