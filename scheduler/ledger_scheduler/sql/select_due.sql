-- The jobs whose `run_at` has come, the longest due first; a page of them.
--
--   after_at, after_id   where the page before this one ended
--   limit
--
-- With the server that was asked: another one since a restart, a restore or a failover.
-- Judged by this database's clock as the statement began, and so never early. Served by the partial index on (run_at,
-- job_id) of scheduled and retrying jobs.
select j.run_at as at, j.job_id, j.version, now() as now, pg_postmaster_start_time() as server
from ledger_read.jobs j
where j.state in ('scheduled', 'retrying') and j.run_at <= now()
  and (j.run_at, j.job_id) > (%(after_at)s::timestamptz, %(after_id)s::uuid)
order by j.run_at, j.job_id
limit %(limit)s::bigint
