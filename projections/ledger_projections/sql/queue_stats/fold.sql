-- Folds a batch into the three tables of `queue_stats`.
--   the batch, as `ledger.events_in` takes it
-- An event takes its job out of the state that the event before it led to and into its own. The event before is in the
-- batch, or known by the rules, or looked up by key. An event measures one duration at most, so one tally serves all three
-- tables. They are always written in the same order, and their rows by key: two rebuilds of different partitions add to the
-- same rows.
with batch as (
  select
    e.job_id, e.version, e.kind, e.at, e.priority, e.queue,
    case when e.version > 1 then e.data end as data,
    lag(e.kind) over job as preceding_kind,
    lag(e.at) over job as preceding_at
  from ledger.events_in(
    %(born_from)s::uuid, %(born_to)s::uuid, %(low)s::bigint, %(high)s::bigint,
    %(late)s::bigint[], %(holes)s::int8multirange, %(parked)s::uuid[]
  ) as e
  window job as (partition by e.job_id order by e.version)
),
steps as (
  select
    b.queue,
    b.priority,
    date_trunc('minute', b.at) as minute,
    b.kind,
    case
      when b.version = 1 then null
      when b.preceding_kind is not null then b.preceding_kind
      when b.kind in ('succeeded', 'failed', 'scheduled') then 'leased'
      when b.kind = 'leased' then 'enqueued'
      when b.kind = 'discarded' then 'dead_lettered'
      else (select e.kind from ledger.events e where e.job_id = b.job_id and e.version = b.version - 1)
    end as preceding_kind,
    b.kind = 'enqueued' and b.version > 1 and b.data ->> 'crash_count' is not null as crash_counted,
    case b.kind
      when 'leased' then greatest(
        date_part('epoch', b.at - coalesce(
          b.preceding_at,
          (b.data ->> 'ready_at')::timestamptz,
          (select e.at from ledger.events e where e.job_id = b.job_id and e.version = b.version - 1)
        )) * 1000, 0
      )
      when 'succeeded' then (b.data ->> 'duration_ms')::float8
      when 'failed' then (b.data ->> 'duration_ms')::float8
    end as milliseconds
  from batch b
  offset 0  -- each of these is worked out once, however often it is used below
),
tally as materialized (
  select
    s.queue, s.priority, s.minute, s.kind, s.preceding_kind, s.crash_counted,
    case
      when s.milliseconds is not null then floor(ln(greatest(s.milliseconds, 0.001)) * 11.541560327111707)  -- 8 / ln 2
    end as bucket,
    count(*) as count,
    max(s.milliseconds) as max_ms
  from steps s
  group by 1, 2, 3, 4, 5, 6, 7
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
    coalesce(sum(t.count) filter (
      where t.crash_counted or (t.kind = 'dead_lettered' and t.preceding_kind = 'leased')
    ), 0),
    max(t.max_ms) filter (where t.kind = 'leased'),
    max(t.max_ms) filter (where t.kind <> 'leased')
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
  t.queue, t.minute, t.priority, case t.kind when 'leased' then 'wait' else 'run' end, t.bucket, sum(t.count)
from tally t
where t.bucket is not null and t.minute >= (select ledger.counted_from())
group by 1, 2, 3, 4, 5
order by 1, 2, 3, 4, 5
on conflict (queue, minute, priority, measure, bucket) do update
set count = h.count + excluded.count
