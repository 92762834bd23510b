-- Folds a batch into `jobs`: one upsert a job, whatever happened to it in between.
--   the batch, as `ledger.events_in` takes it
-- A job's row afterwards is its row before, less what the batch says anew. What each column takes is the last event that
-- sets it: `enqueued`, `leased`, … are the versions of the last event of that kind in the batch. Rows go in by job_id.
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
news as (
  select
    b.job_id,
    min(b.version) = 1 as opened,
    max(b.version) as version,
    max(b.kind) filter (where b.version = b.last) as kind,
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
)
insert into jobs (
  job_id, type, queue, priority, state, version, attempt, retry_count, crash_count, max_retries, requeue_count,
  requeued_at, run_at, expires_at, created_at, ready_at, started_at, completed_at, updated_at, worker_id,
  correlation_id, schedule_id
)
select
  n.job_id,
  coalesce(n.type, old.type),
  n.queue,
  n.priority,
  case n.kind
    when 'enqueued' then 'ready'
    when 'leased' then 'running'
    when 'retried' then 'retrying'
    when 'dead_lettered' then 'dead'
    else n.kind::text
  end,
  n.version,
  coalesce(n.attempt, old.attempt, 0),
  coalesce(n.retry_count, old.retry_count, 0),
  coalesce(n.crash_count, old.crash_count, 0),
  coalesce(n.max_retries, old.max_retries),
  coalesce(n.requeue_count, old.requeue_count, 0),
  coalesce(n.requeued_at, old.requeued_at),
  n.run_at,
  coalesce(n.expires_at, old.expires_at),
  coalesce(n.created_at, old.created_at),
  coalesce(n.ready_at, old.ready_at),
  coalesce(n.started_at, old.started_at),
  case when n.kind in ('succeeded', 'dead_lettered', 'cancelled', 'discarded') then n.updated_at end,
  n.updated_at,
  n.worker_id,
  coalesce(n.correlation_id, old.correlation_id),
  coalesce(n.schedule_id::uuid, old.schedule_id)
from news n
left join lateral (
  select
    j.type, j.attempt, j.retry_count, j.crash_count, j.max_retries, j.requeue_count, j.requeued_at, j.expires_at,
    j.created_at, j.ready_at, j.started_at, j.correlation_id, j.schedule_id
  from jobs j
  where j.job_id = n.job_id and not n.opened
  offset 0  -- keeps the planner from joining the whole table instead of looking up one key a row
) as old on true
order by n.job_id
on conflict (job_id) do update
set state = excluded.state,
    version = excluded.version,
    attempt = excluded.attempt,
    retry_count = excluded.retry_count,
    crash_count = excluded.crash_count,
    requeue_count = excluded.requeue_count,
    requeued_at = excluded.requeued_at,
    run_at = excluded.run_at,
    ready_at = excluded.ready_at,
    started_at = excluded.started_at,
    completed_at = excluded.completed_at,
    updated_at = excluded.updated_at,
    worker_id = excluded.worker_id
