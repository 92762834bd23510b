-- Folds a batch into `attempts`: one upsert a run.
--   the batch, as `ledger.events_in` takes it
-- A run is opened by `leased`, and closed by the event right after it; when that is `failed`, the event after says whether
-- the job was given up with it. What the batch does not hold (the event before, the job's request, a run that is open
-- already) is looked up by key. Rows go in by key.
with batch as (
  select
    e.job_id, e.version, e.kind, e.at, e.priority, e.queue, e.data,
    lag(e.kind) over job as preceding_kind,
    lag(e.at) over job as preceding_at,
    first_value(e.version) over job as first,
    first_value(e.data) over job as first_data
  from ledger.events_in(
    %(born_from)s::uuid, %(born_to)s::uuid, %(low)s::bigint, %(high)s::bigint,
    %(late)s::bigint[], %(holes)s::int8multirange, %(parked)s::uuid[]
  ) as e
  window job as (partition by e.job_id order by e.version)
),
steps as (
  select
    b.job_id, b.version, b.kind, b.at, b.priority, b.queue, b.data, b.first,
    case when b.first = 1 then b.first_data end as request,
    coalesce(b.preceding_kind, preceding.kind) as preceding_kind,
    coalesce(b.preceding_at, preceding.at) as preceding_at
  from batch b
  left join lateral (
    select p.kind, p.at
    from ledger.events p
    where p.job_id = b.job_id and p.version = b.version - 1
      and b.version > 1 and b.preceding_kind is null and b.kind in ('leased', 'enqueued', 'dead_lettered', 'cancelled')
    offset 0  -- keeps the planner from joining the whole log instead of looking up one key a row
  ) as preceding on true
  where b.version > 1 and b.kind not in ('retried', 'discarded')
),
touches as (
  select
    s.job_id, s.version, s.kind, s.at, s.priority, s.queue, s.data, s.request, s.preceding_at,
    case
      when s.kind = 'leased' then s.version
      when s.kind in ('succeeded', 'failed', 'scheduled') or s.preceding_kind = 'leased' then s.version - 1
      when s.kind = 'dead_lettered' and s.preceding_kind = 'failed' then s.version - 2
    end as lease_version
  from steps s
),
news as (
  select
    t.job_id,
    t.lease_version,
    bool_or(t.kind = 'leased') as opened,
    max(t.queue) as queue,
    max(t.priority) as priority,
    max((t.data ->> 'attempt')::int) filter (where t.kind = 'leased') as attempt,
    max(t.data ->> 'worker_id') filter (where t.kind = 'leased') as worker_id,
    max(t.request ->> 'type') filter (where t.kind = 'leased') as type,
    max((t.request ->> 'max_retries')::int) filter (where t.kind = 'leased') as max_retries,
    max(t.preceding_at) filter (where t.kind = 'leased') as created_at,
    max(t.at) filter (where t.kind = 'leased') as started_at,
    bool_or(t.lease_version = t.version - 2) as given_up,
    max(
      case t.kind
        when 'scheduled' then 'snoozed'
        when 'dead_lettered' then 'crashed'
        when 'enqueued' then case when t.data ->> 'crash_count' is null then 'released' else 'crashed' end
        else t.kind::text
      end
    ) filter (where t.lease_version = t.version - 1) as outcome,
    max(t.at) filter (where t.lease_version = t.version - 1) as completed_at,
    max((t.data ->> 'duration_ms')::float8) filter (where t.kind in ('succeeded', 'failed')) as duration_ms,
    max(t.data ->> 'error_type') filter (where t.kind = 'failed') as error_type,
    max(t.data ->> 'error_message') filter (where t.kind = 'failed') as error_message,
    max(t.data ->> 'stack_trace') filter (where t.kind = 'failed') as stack_trace
  from touches t
  where t.lease_version is not null
  group by t.job_id, t.lease_version
)
insert into attempts (
  job_id, lease_version, attempt, type, queue, priority, state, error_type, error_message, stack_trace, worker_id,
  max_retries, created_at, started_at, completed_at, wait_ms, duration_ms
)
select
  n.job_id,
  n.lease_version,
  coalesce(n.attempt, old.attempt),
  coalesce(n.type, request.data ->> 'type', old.type),
  n.queue,
  n.priority,
  case when n.given_up then 'dead' else coalesce(n.outcome, 'running') end,
  coalesce(n.error_type, old.error_type),
  coalesce(n.error_message, old.error_message),
  coalesce(n.stack_trace, old.stack_trace),
  coalesce(n.worker_id, old.worker_id),
  coalesce(n.max_retries, (request.data ->> 'max_retries')::int, old.max_retries),
  coalesce(n.created_at, old.created_at),
  coalesce(n.started_at, old.started_at),
  coalesce(n.completed_at, old.completed_at),
  case when n.opened then greatest(date_part('epoch', n.started_at - n.created_at) * 1000, 0) else old.wait_ms end,
  coalesce(n.duration_ms, old.duration_ms)
from news n
left join lateral (
  select p.data
  from ledger.events p
  where p.job_id = n.job_id and p.version = 1 and n.opened and n.type is null
  offset 0
) as request on true
left join lateral (
  select
    a.attempt, a.type, a.error_type, a.error_message, a.stack_trace, a.worker_id, a.max_retries, a.created_at,
    a.started_at, a.completed_at, a.wait_ms, a.duration_ms
  from attempts a
  where a.job_id = n.job_id and a.lease_version = n.lease_version and not n.opened
  offset 0
) as old on true
order by n.job_id, n.lease_version
on conflict (job_id, lease_version) do update
set state = excluded.state,
    error_type = excluded.error_type,
    error_message = excluded.error_message,
    stack_trace = excluded.stack_trace,
    completed_at = excluded.completed_at,
    duration_ms = excluded.duration_ms
