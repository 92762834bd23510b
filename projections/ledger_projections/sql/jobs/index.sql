-- The indexes of `jobs` and `job_births`. A rebuild makes them when the rows are there.

-- The keys: what a projector that keeps up finds its rows by. Whole lives are only added.
create unique index if not exists jobs_pkey on jobs (job_id);
create unique index if not exists job_births_pkey on job_births (job_id);
alter table jobs replica identity using index jobs_pkey;

-- What the scheduler looks for.
create index if not exists jobs_due on jobs (run_at, job_id) where state in ('scheduled', 'retrying');
create index if not exists jobs_expiring on jobs (expires_at, job_id)
  where state in ('scheduled', 'ready', 'retrying') and expires_at is not null;
create index if not exists jobs_running on jobs (worker_id, job_id) where state = 'running';

-- What refills the dispatch streams, and the age of the oldest ready job.
create index if not exists jobs_ready on jobs (queue, priority, ready_at, job_id) where state = 'ready';

-- Of the jobs that have not succeeded, by state. Those that have are the many: lists of them go by creation.
create index if not exists jobs_by_state on jobs (state, created_at, job_id) where state <> 'succeeded';

-- Of what never changes of a job.
create index if not exists job_births_by_creation on job_births (created_at, job_id);
create index if not exists job_births_by_queue on job_births (queue, created_at, job_id);
create index if not exists job_births_by_type on job_births (type, created_at, job_id);
-- Only of jobs that belong to others: one that nobody correlated has its own id there, and is found by that.
create index if not exists job_births_by_correlation on job_births (correlation_id, created_at, job_id)
  where correlation_id <> job_id::text;
create index if not exists job_births_by_schedule on job_births (schedule_id, created_at, job_id)
  where schedule_id is not null;
-- Few ask for what is not medium, and nobody finds those few among all the others.
create index if not exists job_births_by_priority on job_births (priority, created_at, job_id) where priority <> 2;
