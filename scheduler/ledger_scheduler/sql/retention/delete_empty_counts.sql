-- Deletes the counts of queues and priorities of which no job is left: a rebuild would not make them either.
-- Only where nothing is counted, and `jobs` has read as far as `queue_stats`: a job of theirs would be there. Called while
-- this transaction has the turn of `queue_stats`. Served by the index (queue, created_at, job_id) of the jobs.
delete from ledger_read.queue_counts c
where not exists (
    select from ledger_read.queue_counts d where d.queue = c.queue and d.priority = c.priority and d.count <> 0
  )
  and not exists (select from ledger_read.jobs j where j.queue = c.queue and j.priority = c.priority)
  and (select a.high from ledger.cursors a where a.projection = 'jobs' and a.generation = 'live')
    >= (select b.high from ledger.cursors b where b.projection = 'queue_stats' and b.generation = 'live')
