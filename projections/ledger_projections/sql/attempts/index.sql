-- The indexes of `attempts`: its key, by which a projector that keeps up finds the run that has ended, and those by which
-- runs are listed. A rebuild makes them when the rows are there.
create unique index if not exists attempts_pkey on attempts (job_id, lease_version);
alter table attempts replica identity using index attempts_pkey;
create index if not exists attempts_by_start on attempts (started_at, job_id, lease_version);
create index if not exists attempts_by_worker on attempts (worker_id, started_at, job_id, lease_version);

-- Those that have succeeded are the many: lists of them go by their start.
create index if not exists attempts_by_state on attempts (state, started_at, job_id, lease_version)
  where state <> 'succeeded';
