-- Changes a schedule, if it still is at the version that was read; returns its new version and time.
--   id, version   the schedule as it was read
--   all that may change: as it shall be
-- Served by the primary key. Raises a unique violation where the name is another's.
update ledger.schedules s
set version = s.version + 1, updated_at = clock_timestamp(),
  name = %(name)s::text, job_type = %(job_type)s::text, payload = %(payload)s::json,
  payload_version = %(payload_version)s::int, cron_expression = %(cron_expression)s::text,
  timezone = %(timezone)s::text, queue = %(queue)s::text, priority = %(priority)s::smallint,
  max_retries = %(max_retries)s::int, timeout_seconds = %(timeout_seconds)s::float8, retry = %(retry)s::json,
  metadata = %(metadata)s::json, is_active = %(is_active)s::boolean, catch_up = %(catch_up)s::text,
  catch_up_window_seconds = %(catch_up_window_seconds)s::float8, overlap = %(overlap)s::text,
  last_run_at = %(last_run_at)s::timestamptz, last_run_status = %(last_run_status)s::text,
  last_job_id = %(last_job_id)s::uuid, next_run_at = %(next_run_at)s::timestamptz
where s.id = %(id)s::uuid and s.version = %(version)s::int
returning s.version, s.updated_at
