-- Folds a batch into `jobs` and `job_births`: one insert or update a job, whatever happened to it in between.
-- A job whose first event is in the batch is new; of any other the row is there, and takes what the batch says anew: for
-- each column, what the last event says that sets it. Of jobs that are not plain, the events are gathered in arrays, in the
-- order of their versions, so that the JSON is read once a job, of the events that count. `enqueued`, `leased`, … are the
-- places of the last event of that kind. Rows go in by job_id.
jobs_lives as (
  select
    e.job_id,
    min(e.version) as first,
    count(*)::int as last,
    max(e.kind) filter (where e.next_kind is null) as kind,
    array_agg(e.at order by e.version) as ats,
    array_agg(case when e.kind <> 'failed' then e.data end order by e.version) as datas,  -- that one may be long
    max(e.correlation_id) as correlation_id,
    max(e.queue) as queue,
    max(e.priority) as priority,
    max(e.attempt) as attempt,  -- a job's runs are numbered as they come
    max(e.worker_id) filter (where e.next_kind is null) as worker_id,
    1 - min(e.version) + max(e.version) filter (where e.kind = 'enqueued') as enqueued,
    1 - min(e.version) + max(e.version) filter (where e.kind = 'leased') as leased,
    1 - min(e.version) + max(e.version) filter (where e.kind = 'retried') as retried,
    1 - min(e.version) + max(e.version) filter (
      where e.kind = 'retried' and e.data ->> 'requeue_count' is not null
    ) as requeued,
    1 - min(e.version) + max(e.version) filter (
      where e.kind = 'dead_lettered'
        or (e.kind = 'retried' and e.data ->> 'requeue_count' is not null)
        or (e.kind = 'enqueued' and e.version > 1 and e.data ->> 'crash_count' is not null)
    ) as counted
  from eventful e
  group by e.job_id
),
jobs_news as materialized (
  select
    n.job_id, n.opened, n.version, n.state, n.completed_at, n.updated_at, n.worker_id, n.run_at, n.ready_at, n.started_at,
    n.attempt, n.retry_count, n.requeue_count, n.requeued_at, n.crash_count, n.queue, n.priority, n.created_at,
    coalesce(n.correlation_id, n.job_id::text) as correlation_id,
    n.request[1] as type,
    n.request[2]::int as max_retries,
    least(n.request[3]::timestamptz, n.request[4]::timestamptz) as expires_at,
    n.request[5]::uuid as schedule_id
  from (
    select
      l.job_id,
      l.first = 1 as opened,
      l.first + l.last - 1 as version,
      case l.kind
        when 'enqueued' then 'ready'
        when 'leased' then 'running'
        when 'retried' then 'retrying'
        when 'dead_lettered' then 'dead'
        else l.kind::text
      end as state,
      case when l.kind in ('succeeded', 'dead_lettered', 'cancelled', 'discarded') then l.ats[l.last] end as completed_at,
      l.ats[l.last] as updated_at,
      l.worker_id,
      case when l.kind in ('scheduled', 'retried') then (l.datas[l.last] ->> 'run_at')::timestamptz end as run_at,
      l.ats[l.enqueued] as ready_at,
      l.ats[l.leased] as started_at,
      l.attempt,
      (l.datas[l.retried] ->> 'retry_count')::int as retry_count,
      (l.datas[l.requeued] ->> 'requeue_count')::int as requeue_count,
      l.ats[l.requeued] as requeued_at,
      case when l.counted = l.requeued then 0 else (l.datas[l.counted] ->> 'crash_count')::int end as crash_count,
      l.queue,
      l.priority,
      l.ats[1] as created_at,
      case when l.first = 1 then array[
        l.datas[1] ->> 'type', l.datas[1] ->> 'max_retries', l.datas[1] ->> 'expires_at', l.datas[1] ->> 'deadline',
        l.datas[1] ->> 'schedule_id'
      ] end as request,
      l.correlation_id
    from jobs_lives l
    union all
    select
      l.job_id,
      l.opened_at is not null,
      l.version,
      case when l.succeeded_at is not null then 'succeeded' when l.leased_at is not null then 'running' else 'ready' end,
      l.succeeded_at,
      coalesce(l.succeeded_at, l.leased_at, l.opened_at),
      case when l.succeeded_at is null then l.worker_id end,
      null,
      l.opened_at,
      l.leased_at,
      l.attempt,
      null, null, null, null,
      l.queue,
      l.priority,
      l.opened_at,
      -- To ask a JSON for a member is to read it all, and hardly any has the last three; the log spells names without
      -- escapes.
      case when l.opened_at is not null then array[
        l.request ->> 'type',
        l.request ->> 'max_retries',
        case when strpos(l.request::text, '"expires_at"') > 0 then l.request ->> 'expires_at' end,
        case when strpos(l.request::text, '"deadline"') > 0 then l.request ->> 'deadline' end,
        case when strpos(l.request::text, '"schedule_id"') > 0 then l.request ->> 'schedule_id' end
      ] end,
      l.correlation_id
    from lives l
    where l.is_plain
  ) as n
  order by n.job_id
),
jobs_born as (
  insert into job_births (job_id, created_at, type, queue, priority, correlation_id, schedule_id)
  select n.job_id, n.created_at, n.type, n.queue, n.priority, n.correlation_id, n.schedule_id
  from jobs_news n
  where n.opened
  order by n.job_id
),
jobs_opened as (
  insert into jobs (
    job_id, type, queue, priority, state, version, attempt, retry_count, crash_count, max_retries, requeue_count,
    requeued_at, run_at, expires_at, created_at, ready_at, started_at, completed_at, updated_at, worker_id,
    correlation_id, schedule_id
  )
  select
    n.job_id, n.type, n.queue, n.priority, n.state, n.version,
    coalesce(n.attempt, 0), coalesce(n.retry_count, 0), coalesce(n.crash_count, 0), n.max_retries,
    coalesce(n.requeue_count, 0), n.requeued_at, n.run_at, n.expires_at, n.created_at, n.ready_at, n.started_at,
    n.completed_at, n.updated_at, n.worker_id, n.correlation_id, n.schedule_id
  from jobs_news n
  where n.opened
  order by n.job_id
),
jobs_moved as (
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
  from jobs_news n
  where j.job_id = n.job_id and not n.opened
  returning j.job_id
),
-- Of a job whose row is not there nothing can be told. This one lacks what a row must have, so it is refused, and the job
-- is parked.
jobs_untold as (
  insert into jobs (job_id)
  select n.job_id
  from jobs_news n
  where not n.opened
    and (select count(*) from jobs_moved) < (select count(*) from jobs_news m where not m.opened)
    and not exists (select from jobs j where j.job_id = n.job_id)
  limit 1
)
