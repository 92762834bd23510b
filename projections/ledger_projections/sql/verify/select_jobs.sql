-- The read model `jobs`, in the order of its key, through a server-side cursor.
select j.job_id, j.type, j.queue, j.priority, j.state, j.version, j.attempt, j.retry_count, j.crash_count, j.max_retries,
       j.requeue_count, j.requeued_at, j.run_at, j.expires_at, j.created_at, j.ready_at, j.started_at, j.completed_at,
       j.updated_at, j.worker_id, j.correlation_id, j.schedule_id
from ledger_read.jobs j
order by j.job_id
