-- The schedules that have a tick to be decided, the longest due first; a page of them, and the database's time.
--
--   after_at, after_id   where the page before this one ended
--   limit
--
-- Judged by this database's clock as the statement began, and so never early. Served by the partial index on
-- next_run_at.
select
  s.id, s.version, s.origin, s.name, s.job_type, s.payload::text, s.payload_version, s.cron_expression, s.timezone, s.queue,
  s.priority, s.max_retries, s.timeout_seconds, s.retry::text, s.metadata::text, s.is_active, s.catch_up,
  s.catch_up_window_seconds, s.overlap, s.last_run_at, s.last_run_status, s.last_job_id, s.next_run_at, s.created_at,
  s.updated_at, now() as now
from ledger.schedules s
where s.next_run_at <= now()
  and (s.next_run_at, s.id) > (%(after_at)s::timestamptz, %(after_id)s::uuid)
order by s.next_run_at, s.id
limit %(limit)s::bigint
