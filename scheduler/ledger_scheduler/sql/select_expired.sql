-- The jobs whose `expires_at` has passed and that have not started, the longest expired first; a page of them.
--
--   after_at, after_id   where the page before this one ended
--   limit
--
-- With the server that was asked: another one since a restart, a restore or a failover.
-- Judged by this database's clock as the statement began. Served by the partial index on (expires_at, job_id) of the
-- jobs that wait.
select j.expires_at as at, j.job_id, j.version, now() as now, pg_postmaster_start_time() as server
from ledger_read.jobs j
where j.state in ('scheduled', 'ready', 'retrying') and j.expires_at is not null and j.expires_at <= now()
  and (j.expires_at, j.job_id) > (%(after_at)s::timestamptz, %(after_id)s::uuid)
order by j.expires_at, j.job_id
limit %(limit)s::bigint
