-- A row a run of a job. (job_id, lease_version) is the run's fencing token.
create table if not exists attempts (
  job_id uuid not null,
  lease_version int not null,
  attempt int not null,
  type text not null,
  queue text not null,
  priority smallint not null,
  state text not null,               -- running, succeeded, failed, dead, snoozed, released, crashed, cancelled
  error_type text,
  error_message text,
  stack_trace text,
  worker_id text not null,
  max_retries int not null,
  created_at timestamptz not null,   -- made ready
  started_at timestamptz not null,
  completed_at timestamptz,
  wait_ms double precision not null,
  duration_ms double precision,      -- as its worker measured it; null where the run had no outcome of its own
  primary key (job_id, lease_version)
) with (
  -- No index holds what an outcome changes: with room in the page, it costs the index nothing.
  fillfactor = 75,
  autovacuum_vacuum_scale_factor = 0.05,
  autovacuum_analyze_scale_factor = 0.05,
  autovacuum_vacuum_cost_delay = 0
);

create index if not exists attempts_by_start on attempts (started_at, job_id, lease_version);
