-- Every queue that a job, a pause or a live worker has named, with its counts now; or one queue, named by anybody or not.
--   queue          this one only; null: all
--   silent_after   a worker whose last heartbeat is older is not alive
-- Nothing is counted: the counts are kept by `queue_stats`. The names of past queues come from one look-up a name in the
-- key of queue_minutes; the oldest ready job from one look-up a priority in jobs' index of ready jobs.
with recursive past (queue) as (
  (select m.queue from ledger_read.queue_minutes m where %(queue)s::text is null order by m.queue limit 1)
  union all
  select (select m.queue from ledger_read.queue_minutes m where m.queue > past.queue order by m.queue limit 1)
  from past
  where past.queue is not null
),
named as (
  select %(queue)s::text as queue where %(queue)s::text is not null
  union
  select past.queue from past where past.queue is not null
  union
  select c.queue from ledger_read.queue_counts c where %(queue)s::text is null
  union
  select p.queue from ledger.pauses p where %(queue)s::text is null
  union
  select unnest(w.queues)
  from ledger.workers w
  where %(queue)s::text is null and w.heartbeat_at > statement_timestamp() - %(silent_after)s::interval
)
select
  n.queue as name,
  coalesce(c.scheduled, 0) as scheduled,
  coalesce(c.ready, 0) as ready,
  coalesce(c.running, 0) as running,
  coalesce(c.retrying, 0) as retrying,
  coalesce(c.dead, 0) as dead,
  c.depths,
  extract(epoch from statement_timestamp() - oldest.ready_at)::float8 as oldest_ready_age_seconds,
  pause.paused_at,
  pause.paused_by,
  pause.reason as pause_reason
from named n
left join ledger.pauses pause on pause.queue = n.queue
left join lateral (
  select
    sum(q.count) filter (where q.state = 'scheduled') as scheduled,
    sum(q.count) filter (where q.state = 'ready') as ready,
    sum(q.count) filter (where q.state = 'running') as running,
    sum(q.count) filter (where q.state = 'retrying') as retrying,
    sum(q.count) filter (where q.state = 'dead') as dead,
    json_object_agg(q.priority, q.count) filter (where q.state = 'ready') as depths
  from ledger_read.queue_counts q
  where q.queue = n.queue
) as c on true
left join lateral (
  select min(first.ready_at) as ready_at
  from generate_series(0, 3) as level (priority)
  cross join lateral (
    select j.ready_at
    from ledger_read.jobs j
    where j.state = 'ready' and j.queue = n.queue and j.priority = level.priority
    order by j.ready_at
    limit 1
  ) as first
) as oldest on true
order by n.queue
