-- One schedule, by its id or its name; no name looks like an id. Served by the primary key and the unique index on name.
--   id     null where the key is no id
--   name
select
  s.id, s.version, s.origin, s.name, s.job_type, s.payload::text, s.payload_version, s.cron_expression, s.timezone, s.queue,
  s.priority, s.max_retries, s.timeout_seconds, s.retry::text, s.metadata::text, s.is_active, s.catch_up,
  s.catch_up_window_seconds, s.overlap, s.last_run_at, s.last_run_status, s.last_job_id, s.next_run_at, s.created_at,
  s.updated_at
from ledger.schedules s
where s.id = %(id)s::uuid or s.name = %(name)s::text
