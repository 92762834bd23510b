-- The schedules of job-queue 0.5. No parameters. One scan of its table; JSON comes as text, for it goes on as bytes.
select id::text as id, name, job_type, payload::text as payload, cron_expression, timezone, queue, priority, max_retries,
       timeout_seconds, is_active
from job_schedules
