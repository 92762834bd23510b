-- A row for each job that is dead now.
create table if not exists dead_letters (
  job_id uuid primary key,
  version int not null,              -- of `dead_lettered`: names this death
  type text not null,
  queue text not null,
  priority smallint not null,
  reason text not null,
  error_type text,                   -- of the job's last failure; null where it never failed but killed its workers
  error_message text,
  stack_trace text,
  attempt int not null,
  retry_count int not null,
  max_retries int not null,
  crash_count int not null,
  original_created_at timestamptz not null,
  failed_at timestamptz not null,
  requeued_at timestamptz,           -- by an operator, the last time
  requeue_count int not null
) with (autovacuum_vacuum_scale_factor = 0.05);
