-- Folds a batch into the three tables of `queue_stats`.
-- An event takes its job out of the state that the event before it led to and into its own. An event measures one duration
-- at most, so one tally serves all three tables. They are always written in the same order, and their rows by key: two
-- rebuilds of different partitions add to the same rows.
queue_stats_steps as (
  select
    b.queue,
    b.priority,
    date_bin('1 minute', b.at, 'epoch') as minute,
    b.kind,
    b.preceding_kind,
    b.kind = 'enqueued' and b.version > 1 and b.data ->> 'crash_count' is not null as crash_counted,
    case b.kind
      when 'leased' then greatest(date_part('epoch', b.at - b.became_ready_at) * 1000, 0)
      else b.duration_ms
    end as milliseconds
  from eventful b
  offset 0  -- each of these is worked out once, however often it is used below
),
-- Of plain lives one tally a life is enough, however many of its events are in the batch.
queue_stats_plain as (
  select
    l.queue,
    l.priority,
    date_bin('1 minute', l.opened_at, 'epoch') as opened,
    date_bin('1 minute', l.leased_at, 'epoch') as leased,
    date_bin('1 minute', l.succeeded_at, 'epoch') as succeeded,
    case
      when l.wait_ms is not null then floor(ln(greatest(l.wait_ms, 0.001)) * 11.541560327111707)  -- 8 / ln 2
    end as wait_bucket,
    case
      when l.duration_ms is not null then floor(ln(greatest(l.duration_ms, 0.001)) * 11.541560327111707)
    end as run_bucket,
    count(*) as count,
    max(l.wait_ms) as wait_max_ms,
    max(l.duration_ms) as run_max_ms
  from (
    select
      l.*,
      case
        when l.leased_at is not null then greatest(date_part('epoch', l.leased_at - l.became_ready_at) * 1000, 0)
      end as wait_ms
    from lives l
    where l.is_plain
  ) as l
  group by 1, 2, 3, 4, 5, 6, 7
),
queue_stats_tally as materialized (
  select
    s.queue, s.priority, s.minute, s.kind, s.preceding_kind, s.crash_counted,
    case
      when s.milliseconds is not null then floor(ln(greatest(s.milliseconds, 0.001)) * 11.541560327111707)  -- 8 / ln 2
    end as bucket,
    count(*) as count,
    max(s.milliseconds) as max_ms
  from queue_stats_steps s
  group by 1, 2, 3, 4, 5, 6, 7
  union all
  select p.queue, p.priority, e.minute, e.kind, e.preceding_kind, false, e.bucket, p.count, e.max_ms
  from queue_stats_plain p
  cross join lateral (
    values
      ('enqueued'::ledger.event_kind, null::ledger.event_kind, p.opened, null::float8, null::float8),
      ('leased', 'enqueued', p.leased, p.wait_bucket, p.wait_max_ms),
      ('succeeded', 'leased', p.succeeded, p.run_bucket, p.run_max_ms)
  ) as e (kind, preceding_kind, minute, bucket, max_ms)
  where e.minute is not null
),
queue_stats_counts as (
  insert into queue_counts as c (queue, priority, state, count)
  select
    q.queue, q.priority, r.state,
    coalesce(sum((t.kind = r.kind)::int * t.count - coalesce(t.preceding_kind = r.kind, false)::int * t.count), 0)
  from (select distinct t.queue, t.priority from queue_stats_tally t) as q
  cross join (
    values
      ('scheduled'::ledger.event_kind, 'scheduled'),
      ('enqueued', 'ready'),
      ('leased', 'running'),
      ('retried', 'retrying'),
      ('dead_lettered', 'dead')
  ) as r (kind, state)
  left join queue_stats_tally t on t.queue = q.queue and t.priority = q.priority and r.kind in (t.kind, t.preceding_kind)
  group by q.queue, q.priority, r.state
  order by q.queue, q.priority, r.state
  on conflict (queue, priority, state) do update
  set count = c.count + excluded.count
  where excluded.count <> 0
),
queue_stats_minutes as (
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
  from queue_stats_tally t
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
),
queue_stats_histograms as (
  insert into queue_histograms as h (queue, minute, priority, measure, bucket, count)
  select
    t.queue, t.minute, t.priority, case t.kind when 'leased' then 'wait' else 'run' end, t.bucket, sum(t.count)
  from queue_stats_tally t
  where t.bucket is not null and t.minute >= (select ledger.counted_from())
  group by 1, 2, 3, 4, 5
  order by 1, 2, 3, 4, 5
  on conflict (queue, minute, priority, measure, bucket) do update
  set count = h.count + excluded.count
)
