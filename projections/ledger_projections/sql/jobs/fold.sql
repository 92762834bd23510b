-- Folds a batch into `jobs` and `job_births`: one insert or update a job, whatever happened to it in between.
--   the batch, as `ledger.events_in` takes it
-- A job whose first event is in the batch is new; of any other the row is there, and takes what the batch says anew: for
-- each column, what the last event says that sets it. `enqueued`, `leased`, … are the versions of the last event of that
-- kind in the batch. Rows go in by job_id.
with batch as (
  select
    e.job_id, e.version, e.kind, e.at, e.priority, e.queue, e.data, e.meta,
    min(e.version) over job as first,
    max(e.version) over job as last,
    max(e.version) filter (where e.kind = 'enqueued') over job as enqueued,
    max(e.version) filter (where e.kind = 'leased') over job as leased,
    max(e.version) filter (where e.kind = 'retried') over job as retried,
    max(e.version) filter (where e.kind = 'retried' and e.data ->> 'requeue_count' is not null) over job as requeued,
    max(e.version) filter (
      where e.kind = 'dead_lettered'
        or (e.kind = 'retried' and e.data ->> 'requeue_count' is not null)
        or (e.kind = 'enqueued' and e.version > 1 and e.data ->> 'crash_count' is not null)
    ) over job as counted
  from ledger.events_in(
    %(born_from)s::uuid, %(born_to)s::uuid, %(low)s::bigint, %(high)s::bigint,
    %(late)s::bigint[], %(holes)s::int8multirange, %(parked)s::uuid[]
  ) as e
  window job as (partition by e.job_id)
),
news as materialized (
  select
    b.job_id,
    min(b.version) = 1 as opened,
    max(b.version) as version,
    max(
      case b.kind
        when 'enqueued' then 'ready'
        when 'leased' then 'running'
        when 'retried' then 'retrying'
        when 'dead_lettered' then 'dead'
        else b.kind::text
      end
    ) filter (where b.version = b.last) as state,
    max(b.at) filter (
      where b.version = b.last and b.kind in ('succeeded', 'dead_lettered', 'cancelled', 'discarded')
    ) as completed_at,
    max(b.at) filter (where b.version = b.last) as updated_at,
    max(b.data ->> 'worker_id') filter (where b.version = b.last and b.kind = 'leased') as worker_id,
    max((b.data ->> 'run_at')::timestamptz)
      filter (where b.version = b.last and b.kind in ('scheduled', 'retried')) as run_at,
    max(b.at) filter (where b.version = b.enqueued) as ready_at,
    max(b.at) filter (where b.version = b.leased) as started_at,
    max((b.data ->> 'attempt')::int) filter (where b.version = b.leased) as attempt,
    max((b.data ->> 'retry_count')::int) filter (where b.version = b.retried) as retry_count,
    max((b.data ->> 'requeue_count')::int) filter (where b.version = b.requeued) as requeue_count,
    max(b.at) filter (where b.version = b.requeued) as requeued_at,
    max(case when b.kind = 'retried' then 0 else (b.data ->> 'crash_count')::int end)
      filter (where b.version = b.counted) as crash_count,
    max(b.queue) as queue,
    max(b.priority) as priority,
    max(b.at) filter (where b.version = 1) as created_at,
    max(b.data ->> 'type') filter (where b.version = 1) as type,
    max((b.data ->> 'max_retries')::int) filter (where b.version = 1) as max_retries,
    max(least((b.data ->> 'expires_at')::timestamptz, (b.data ->> 'deadline')::timestamptz))
      filter (where b.version = 1) as expires_at,
    max(b.data ->> 'schedule_id') filter (where b.version = 1) as schedule_id,
    max(coalesce(b.meta ->> 'correlation_id', b.job_id::text)) filter (where b.version = 1) as correlation_id
  from batch b
  where b.version in (1, b.last, b.enqueued, b.leased, b.retried, b.requeued, b.counted)
  group by b.job_id
),
born as (
  insert into job_births (job_id, created_at, type, queue, correlation_id, schedule_id)
  select n.job_id, n.created_at, n.type, n.queue, n.correlation_id, n.schedule_id::uuid
  from news n
  where n.opened
  order by n.job_id
),
opened as (
  insert into jobs (
    job_id, type, queue, priority, state, version, attempt, retry_count, crash_count, max_retries, requeue_count,
    requeued_at, run_at, expires_at, created_at, ready_at, started_at, completed_at, updated_at, worker_id,
    correlation_id, schedule_id
  )
  select
    n.job_id, n.type, n.queue, n.priority, n.state, n.version,
    coalesce(n.attempt, 0), coalesce(n.retry_count, 0), coalesce(n.crash_count, 0), n.max_retries,
    coalesce(n.requeue_count, 0), n.requeued_at, n.run_at, n.expires_at, n.created_at, n.ready_at, n.started_at,
    n.completed_at, n.updated_at, n.worker_id, n.correlation_id, n.schedule_id::uuid
  from news n
  where n.opened
  order by n.job_id
),
moved as (
  update jobs j
  set state = n.state,
      version = n.version,
      attempt = coalesce(n.attempt, j.attempt),
      retry_count = coalesce(n.retry_count, j.retry_count),
      crash_count = coalesce(n.crash_count, j.crash_count),
      requeue_count = coalesce(n.requeue_count, j.requeue_count),
      requeued_at = coalesce(n.requeued_at, j.requeued_at),
      run_at = n.run_at,
      ready_at = coalesce(n.ready_at, j.ready_at),
      started_at = coalesce(n.started_at, j.started_at),
      completed_at = n.completed_at,
      updated_at = n.updated_at,
      worker_id = n.worker_id
  from news n
  where j.job_id = n.job_id and not n.opened
  returning j.job_id
)
-- Of a job whose row is not there nothing can be told. This one lacks what a row must have, so it is refused, and the job
-- is parked.
insert into jobs (job_id)
select n.job_id
from news n
where not n.opened
  and (select count(*) from moved) < (select count(*) from news m where not m.opened)
  and not exists (select from jobs j where j.job_id = n.job_id)
limit 1
