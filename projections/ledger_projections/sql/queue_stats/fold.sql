-- Folds a batch into the three tables of `queue_stats`.
--   the batch, as `ledger.events_in` takes it
-- An event takes its job out of the state that the event before it led to and into its own. The event before is in the
-- batch, or known by the rules, or looked up by key. The tables are always written in the same order, and their rows by key: two rebuilds of
-- different partitions add to the same rows.
with batch as (
  select
    e.job_id, e.version, e.kind, e.at, e.priority, e.queue, e.data,
    lag(e.kind) over job as preceding_kind,
    coalesce(lag(e.at) over job, case when e.kind = 'leased' then (e.data ->> 'ready_at')::timestamptz end) as ready_at
  from ledger.events_in(
    %(born_from)s::uuid, %(born_to)s::uuid, %(low)s::bigint, %(high)s::bigint,
    %(late)s::bigint[], %(holes)s::int8multirange, %(parked)s::uuid[]
  ) as e
  window job as (partition by e.job_id order by e.version)
),
steps as materialized (
  select
    b.queue,
    b.priority,
    date_trunc('minute', b.at) as minute,
    b.kind,
    coalesce(
      b.preceding_kind,
      preceding.kind,
      case
        when b.version = 1 then null
        when b.kind in ('succeeded', 'failed', 'scheduled') then 'leased'
        when b.kind = 'leased' then 'enqueued'
        when b.kind = 'discarded' then 'dead_lettered'
      end::ledger.event_kind
    ) as preceding_kind,
    b.kind = 'enqueued' and b.version > 1 and b.data ->> 'crash_count' is not null as crash_counted,
    case
      when b.kind = 'leased'
        then greatest(date_part('epoch', b.at - coalesce(b.ready_at, preceding.at)) * 1000, 0)
    end as wait_ms,
    case when b.kind in ('succeeded', 'failed') then (b.data ->> 'duration_ms')::float8 end as run_ms
  from batch b
  left join lateral (
    select p.kind, p.at
    -- Asked once a row, and not once a row and partition.
    from (
      select
      where b.version > 1 and b.preceding_kind is null
        and (
          b.kind in ('enqueued', 'retried', 'dead_lettered', 'cancelled') or (b.kind = 'leased' and b.ready_at is null)
        )
      offset 0
    ) as needed
    cross join lateral (
      select e.kind, e.at
      from ledger.events e
      where e.job_id = b.job_id and e.version = b.version - 1
      offset 0  -- keeps the planner from joining the whole log instead of looking up one key a row
    ) as p
  ) as preceding on true
),
tally as materialized (
  select
    s.queue, s.priority, s.minute, s.kind, s.preceding_kind,
    s.crash_counted or (s.kind = 'dead_lettered' and s.preceding_kind = 'leased') as crashed,
    count(*) as count,
    max(s.wait_ms) as wait_max_ms,
    max(s.run_ms) as run_max_ms
  from steps s
  group by 1, 2, 3, 4, 5, 6
),
counts as (
  insert into queue_counts as c (queue, priority, state, count)
  select
    q.queue, q.priority, r.state,
    coalesce(sum((t.kind = r.kind)::int * t.count - coalesce(t.preceding_kind = r.kind, false)::int * t.count), 0)
  from (select distinct t.queue, t.priority from tally t) as q
  cross join (
    values
      ('scheduled'::ledger.event_kind, 'scheduled'),
      ('enqueued', 'ready'),
      ('leased', 'running'),
      ('retried', 'retrying'),
      ('dead_lettered', 'dead')
  ) as r (kind, state)
  left join tally t on t.queue = q.queue and t.priority = q.priority and r.kind in (t.kind, t.preceding_kind)
  group by q.queue, q.priority, r.state
  order by q.queue, q.priority, r.state
  on conflict (queue, priority, state) do update
  set count = c.count + excluded.count
  where excluded.count <> 0
),
minutes as (
  insert into queue_minutes as m (
    queue, minute, priority, enqueued, succeeded, failed, retried, dead_lettered, cancelled, crashed,
    wait_max_ms, run_max_ms
  )
  select
    t.queue, t.minute, t.priority,
    coalesce(sum(t.count) filter (where t.kind = 'enqueued'), 0),
    coalesce(sum(t.count) filter (where t.kind = 'succeeded'), 0),
    coalesce(sum(t.count) filter (where t.kind = 'failed'), 0),
    coalesce(sum(t.count) filter (where t.kind = 'retried'), 0),
    coalesce(sum(t.count) filter (where t.kind = 'dead_lettered'), 0),
    coalesce(sum(t.count) filter (where t.kind = 'cancelled'), 0),
    coalesce(sum(t.count) filter (where t.crashed), 0),
    max(t.wait_max_ms),
    max(t.run_max_ms)
  from tally t
  where t.kind not in ('scheduled', 'discarded') and t.minute >= (select ledger.counted_from())
  group by t.queue, t.minute, t.priority
  order by t.queue, t.minute, t.priority
  on conflict (queue, minute, priority) do update
  set enqueued = m.enqueued + excluded.enqueued,
      succeeded = m.succeeded + excluded.succeeded,
      failed = m.failed + excluded.failed,
      retried = m.retried + excluded.retried,
      dead_lettered = m.dead_lettered + excluded.dead_lettered,
      cancelled = m.cancelled + excluded.cancelled,
      crashed = m.crashed + excluded.crashed,
      wait_max_ms = greatest(m.wait_max_ms, excluded.wait_max_ms),
      run_max_ms = greatest(m.run_max_ms, excluded.run_max_ms)
)
insert into queue_histograms as h (queue, minute, priority, measure, bucket, count)
select
  s.queue, s.minute, s.priority, d.measure,
  floor(ln(greatest(d.milliseconds, 0.001)) * 11.541560327111707) as bucket,  -- 8 / ln 2
  count(*)
from steps s
cross join lateral (values ('wait', s.wait_ms), ('run', s.run_ms)) as d (measure, milliseconds)
where d.milliseconds is not null and s.minute >= (select ledger.counted_from())
group by 1, 2, 3, 4, 5
order by 1, 2, 3, 4, 5
on conflict (queue, minute, priority, measure, bucket) do update
set count = h.count + excluded.count
