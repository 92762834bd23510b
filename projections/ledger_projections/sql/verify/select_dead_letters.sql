-- The read model `dead_letters`, in the order of its key, through a server-side cursor.
select d.job_id, d.version, d.type, d.queue, d.priority, d.reason, d.error_type, d.error_message, d.stack_trace,
       d.attempt, d.retry_count, d.max_retries, d.crash_count, d.original_created_at, d.failed_at, d.requeued_at,
       d.requeue_count
from ledger_read.dead_letters d
order by d.job_id
