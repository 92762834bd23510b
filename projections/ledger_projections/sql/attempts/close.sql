-- Folds a batch into `attempts`, second half: the ends of the runs that had begun before it.
--   the batch, as `ledger.events_in` takes it
-- Only the first event a job has in the batch can be such an end or, right after a `failed` in an earlier batch, the word
-- that the job was given up with it. Of the kinds that do not only follow a lease, the event before is looked up by key.
with batch as (
  select
    e.job_id, e.version, e.kind, e.at, e.data,
    lag(e.version) over job as preceding,
    lead(e.kind) over job as next_kind
  from ledger.events_in(
    %(born_from)s::uuid, %(born_to)s::uuid, %(low)s::bigint, %(high)s::bigint,
    %(late)s::bigint[], %(holes)s::int8multirange, %(parked)s::uuid[]
  ) as e
  window job as (partition by e.job_id order by e.version)
),
firsts as (
  select
    b.job_id, b.version, b.kind, b.at, b.data, b.next_kind, preceding.kind as preceding_kind
  from batch b
  left join lateral (
    select p.kind
    from (
      select where b.kind in ('enqueued', 'dead_lettered', 'cancelled') offset 0
    ) as needed
    cross join lateral (
      select e.kind
      from ledger.events e
      where e.job_id = b.job_id and e.version = b.version - 1
      offset 0  -- keeps the planner from joining the whole log instead of looking up one key a row
    ) as p
  ) as preceding on true
  where b.preceding is null and b.version > 1 and b.kind not in ('leased', 'retried', 'discarded')
),
ends as (
  select
    f.job_id,
    f.version - case when f.preceding_kind = 'failed' then 2 else 1 end as lease_version,
    case f.kind
      when 'scheduled' then 'snoozed'
      when 'failed' then case when f.next_kind = 'dead_lettered' then 'dead' else 'failed' end
      when 'dead_lettered' then case when f.preceding_kind = 'failed' then 'dead' else 'crashed' end
      when 'enqueued' then case when f.data ->> 'crash_count' is null then 'released' else 'crashed' end
      else f.kind::text
    end as state,
    case when f.preceding_kind is distinct from 'failed' then f.at end as at,
    case when f.kind = 'failed' then f.data end as failure,
    case when f.kind in ('succeeded', 'failed') then (f.data ->> 'duration_ms')::float8 end as duration_ms
  from firsts f
  where f.kind in ('succeeded', 'failed', 'scheduled') or f.preceding_kind in ('leased', 'failed')
)
update attempts a
set state = e.state,
    completed_at = coalesce(e.at, a.completed_at),
    error_type = coalesce(e.failure ->> 'error_type', a.error_type),
    error_message = coalesce(e.failure ->> 'error_message', a.error_message),
    stack_trace = coalesce(e.failure ->> 'stack_trace', a.stack_trace),
    duration_ms = coalesce(e.duration_ms, a.duration_ms)
from ends e
where a.job_id = e.job_id and a.lease_version = e.lease_version
