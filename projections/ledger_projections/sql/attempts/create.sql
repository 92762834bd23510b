-- A row a run of a job. (job_id, lease_version) is the run's fencing token. What the job was asked to do is not repeated
-- here: to look that up would cost every run of a drain more than the row itself.
create table if not exists attempts (
  job_id uuid not null,
  lease_version int not null,
  attempt int not null,
  queue text not null,
  priority smallint not null,
  state text not null,               -- running, succeeded, failed, dead, snoozed, released, crashed, cancelled
  error_type text,
  error_message text,
  stack_trace text,
  worker_id text not null,
  created_at timestamptz not null,   -- made ready
  started_at timestamptz not null,
  completed_at timestamptz,
  wait_ms double precision not null,
  duration_ms double precision       -- as its worker measured it; null where the run had no outcome of its own
) with (
  fillfactor = 90,
  autovacuum_vacuum_scale_factor = 0.05,
  autovacuum_analyze_scale_factor = 0.05,
  autovacuum_vacuum_cost_delay = 0
);
-- Until there is a key: a publication of all tables would forbid updates.
alter table attempts replica identity full;

-- How the runs that started in each minute of the log's own time have ended, so that nobody counts them. The durations are
-- whole microseconds: their sum is the same in whatever order they come.
create table if not exists attempt_minutes (
  minute timestamptz primary key,
  running bigint not null,
  succeeded bigint not null,
  failed bigint not null,
  dead bigint not null,
  snoozed bigint not null,
  released bigint not null,
  crashed bigint not null,
  cancelled bigint not null,
  measured bigint not null,          -- runs with a duration
  duration_us bigint not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
