-- The dead letters of job-queue 0.5. No parameters. One scan of its table; JSON comes as text, for it goes on as bytes.
select job_id, job_type, queue, payload::text as payload, priority, error_message, stack_trace, max_retries, failed_at,
       requeued_at, metadata::text as metadata
from dead_letter_queue
