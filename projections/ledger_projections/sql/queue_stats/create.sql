-- How many jobs of each queue and priority are in each state now. Every state that does not end a job has its row, also
-- with nothing in it, from the first job of that queue and priority on. Few rows, changed all the time.
create table if not exists queue_counts (
  queue text not null,
  priority smallint not null,
  state text not null,
  count bigint not null,
  primary key (queue, priority, state)
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- What went through in each minute of the log's own time.
create table if not exists queue_minutes (
  queue text not null,
  minute timestamptz not null,
  priority smallint not null,
  enqueued bigint not null,
  succeeded bigint not null,
  failed bigint not null,
  retried bigint not null,
  dead_lettered bigint not null,
  cancelled bigint not null,
  crashed bigint not null,           -- leases lost with their workers
  wait_max_ms double precision,
  run_max_ms double precision,
  primary key (queue, minute, priority)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

-- Durations that were measured in each minute. Bucket b: from 2^(b/8) ms up to the next.
create table if not exists queue_histograms (
  queue text not null,
  minute timestamptz not null,
  priority smallint not null,
  measure text not null,             -- wait: ready to leased; run: as the worker measured it
  bucket smallint not null,
  count bigint not null,
  primary key (queue, minute, priority, measure, bucket)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
