-- Folds a batch into `attempts`, first half: the runs that began in it, with their end where the batch has that too.
--   the batch, as `ledger.events_in` takes it
-- A run is opened by `leased`, and closed by the event right after it; when that is `failed`, the event after says whether
-- the job was given up with it. The lease says when the job had become ready; where it does not (it was written before
-- leases did), and for the job's request, the log is asked by key. Rows go in by key.
with batch as (
  select
    e.job_id, e.version, e.kind, e.at, e.priority, e.queue, e.data,
    lag(e.at) over job as preceding_at,
    first_value(e.version) over job as first,
    first_value(e.data) over job as first_data,
    lead(e.kind) over job as next_kind,
    lead(e.at) over job as next_at,
    lead(e.data) over job as next_data,
    lead(e.kind, 2) over job as second_kind
  from ledger.events_in(
    %(born_from)s::uuid, %(born_to)s::uuid, %(low)s::bigint, %(high)s::bigint,
    %(late)s::bigint[], %(holes)s::int8multirange, %(parked)s::uuid[]
  ) as e
  window job as (partition by e.job_id order by e.version)
),
runs as (
  select
    b.job_id, b.version, b.at, b.priority, b.queue, b.data, b.next_kind, b.next_at, b.next_data, b.second_kind,
    case when b.first = 1 then b.first_data else request.data end as request,
    coalesce(b.preceding_at, (b.data ->> 'ready_at')::timestamptz, preceding.at) as ready_at
  from batch b
  left join lateral (
    select p.data
    -- Asked once a row, and not once a row and partition.
    from (select where b.first > 1 offset 0) as needed
    cross join lateral (
      select e.data
      from ledger.events e
      where e.job_id = b.job_id and e.version = 1
      offset 0  -- keeps the planner from joining the whole log instead of looking up one key a row
    ) as p
  ) as request on true
  left join lateral (
    select p.at
    from (select where b.preceding_at is null and b.data ->> 'ready_at' is null offset 0) as needed
    cross join lateral (
      select e.at from ledger.events e where e.job_id = b.job_id and e.version = b.version - 1 offset 0
    ) as p
  ) as preceding on true
  where b.kind = 'leased'
)
insert into attempts (
  job_id, lease_version, attempt, type, queue, priority, state, error_type, error_message, stack_trace, worker_id,
  max_retries, created_at, started_at, completed_at, wait_ms, duration_ms
)
select
  r.job_id,
  r.version,
  (r.data ->> 'attempt')::int,
  r.request ->> 'type',
  r.queue,
  r.priority,
  case r.next_kind
    when 'succeeded' then 'succeeded'
    when 'failed' then case when r.second_kind = 'dead_lettered' then 'dead' else 'failed' end
    when 'scheduled' then 'snoozed'
    when 'dead_lettered' then 'crashed'
    when 'cancelled' then 'cancelled'
    when 'enqueued' then case when r.next_data ->> 'crash_count' is null then 'released' else 'crashed' end
    else 'running'
  end,
  case when r.next_kind = 'failed' then r.next_data ->> 'error_type' end,
  case when r.next_kind = 'failed' then r.next_data ->> 'error_message' end,
  case when r.next_kind = 'failed' then r.next_data ->> 'stack_trace' end,
  r.data ->> 'worker_id',
  (r.request ->> 'max_retries')::int,
  r.ready_at,
  r.at,
  r.next_at,
  greatest(date_part('epoch', r.at - r.ready_at) * 1000, 0),
  case when r.next_kind in ('succeeded', 'failed') then (r.next_data ->> 'duration_ms')::float8 end
from runs r
order by r.job_id, r.version
