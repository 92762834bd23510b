-- Makes a schedule; returns a row unless its name is taken.
insert into ledger.schedules (
  id, origin, name, job_type, payload, payload_version, cron_expression, timezone, queue, priority, max_retries,
  timeout_seconds, retry, metadata, is_active, catch_up, catch_up_window_seconds, overlap, next_run_at, created_at,
  updated_at
)
values (
  %(id)s::uuid, %(origin)s::text, %(name)s::text, %(job_type)s::text, %(payload)s::json, %(payload_version)s::int,
  %(cron_expression)s::text, %(timezone)s::text, %(queue)s::text, %(priority)s::smallint, %(max_retries)s::int,
  %(timeout_seconds)s::float8, %(retry)s::json, %(metadata)s::json, %(is_active)s::boolean, %(catch_up)s::text,
  %(catch_up_window_seconds)s::float8, %(overlap)s::text, %(next_run_at)s::timestamptz, %(created_at)s::timestamptz,
  %(created_at)s::timestamptz
)
on conflict (name) do nothing
returning updated_at
