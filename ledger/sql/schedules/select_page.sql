-- A page of the schedules, by name.
--   is_active   only those that are, or are not; null for both
--   after       the name that the page before this one ended with; '' for the first
--   limit
-- Served by the unique index on name.
select
  s.id, s.version, s.origin, s.name, s.job_type, s.payload::text, s.payload_version, s.cron_expression, s.timezone, s.queue,
  s.priority, s.max_retries, s.timeout_seconds, s.retry::text, s.metadata::text, s.is_active, s.catch_up,
  s.catch_up_window_seconds, s.overlap, s.last_run_at, s.last_run_status, s.last_job_id, s.next_run_at, s.created_at,
  s.updated_at
from ledger.schedules s
where s.name collate "C" > %(after)s::text and (%(is_active)s::boolean is null or s.is_active = %(is_active)s::boolean)
order by s.name collate "C"
limit %(limit)s::bigint
