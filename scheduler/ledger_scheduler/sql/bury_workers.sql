-- Removes the workers that fell silent long ago and hold no lease any more.
--
--   kept   how long a silent worker is kept, for people to see
--
-- A scan of a small table; for each old worker one look at the partial index of running jobs.
delete from ledger.workers w
where w.heartbeat_at < clock_timestamp() - %(kept)s::interval
  and not exists (select from ledger_read.jobs j where j.state = 'running' and j.worker_id = w.id)
