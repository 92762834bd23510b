-- A row a job: where it stands now. Each transition moves a row in the indexes it is listed by, so dead rows come fast.
create table if not exists jobs (
  job_id uuid not null,
  type text not null,
  queue text not null,
  priority smallint not null,
  state text not null,
  version int not null,              -- of the last event folded; the log up to it is what this row says
  attempt int not null,
  retry_count int not null,
  crash_count int not null,
  max_retries int not null,
  requeue_count int not null,
  requeued_at timestamptz,           -- by an operator, the last time
  run_at timestamptz,                -- only while scheduled or retrying
  expires_at timestamptz,            -- not to be started after: the sooner of the request's expires_at and deadline
  created_at timestamptz not null,
  ready_at timestamptz,              -- the start of the present or last wait
  started_at timestamptz,
  completed_at timestamptz,
  updated_at timestamptz not null,
  worker_id text,                    -- only while running
  correlation_id text not null,
  schedule_id uuid
) with (
  fillfactor = 90,
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_insert_scale_factor = 0.1,
  autovacuum_analyze_scale_factor = 0.05,
  autovacuum_vacuum_cost_delay = 0
);
-- Until there is a key: a publication of all tables would forbid updates.
alter table jobs replica identity full;

-- What never changes of a job, and lists are ordered and filtered by. Apart, so that a job's transitions, each of which
-- moves its row above in every index, cost these indexes nothing.
create table if not exists job_births (
  job_id uuid not null,
  created_at timestamptz not null,
  type text not null,
  queue text not null,
  priority smallint not null,
  correlation_id text not null,
  schedule_id uuid
) with (autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.05);
