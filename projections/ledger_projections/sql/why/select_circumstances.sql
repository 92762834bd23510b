-- What stands around a job: the pause of its queue, the workers, the services that are connected, and how far the ready
-- jobs have been handed on.
--   queue          the job's
--   worker_id      the worker that runs it, or null
--   silent_after   a worker whose last heartbeat is older is not alive
-- Reads only control tables, so it answers before there are read models. A service is seen by the name of its
-- connections, for as long as it runs as this database's user.
select
  clock_timestamp() as now,
  pause.paused_at,
  pause.paused_by,
  pause.reason as pause_reason,
  coalesce(live.workers, 0) as workers,
  coalesce(live.takers, 0) as takers,
  coalesce(live.slots, 0) as slots,
  coalesce(live.busy, 0) as busy,
  coalesce(live.before, '{}') as before,
  coalesce(live.ids, '{}') as ids,
  holder.heartbeat_at as holder_beat_at,
  coalesce(holder.heartbeat_at > clock_timestamp() - %(silent_after)s::interval, false) as holder_is_alive,
  exists (
    select from pg_stat_activity a where a.datname = current_database() and a.application_name = 'ledger-scheduler'
  ) as has_scheduler,
  exists (
    select from pg_stat_activity a where a.datname = current_database() and a.application_name = 'ledger-projector'
  ) as has_projector,
  to_regclass('ledger_read.jobs') is not null and to_regclass('ledger_read.queue_counts') is not null as has_read_models,
  (select c.high from ledger.cursors c where c.projection = 'jobs' and c.generation = 'live') as jobs_high,
  (select c.high from ledger.cursors c where c.projection = 'dispatch' and c.generation = 'live') as dispatch_high
from (select) as always
left join ledger.pauses pause on pause.queue = %(queue)s
left join ledger.workers holder on holder.id = %(worker_id)s
left join lateral (
  select
    count(*) as workers,
    count(*) filter (where taking.it) as takers,
    sum(w.concurrency) filter (where taking.it) as slots,
    sum(least(w.running, w.concurrency)) filter (where taking.it) as busy,
    array_agg(w.id) filter (where taking.it) as ids,
    -- Queues that a taker names before this one.
    (
      select array_agg(distinct other.queue)
      from ledger.workers o
      cross join lateral unnest(o.queues) with ordinality as other (queue, place)
      where o.heartbeat_at > clock_timestamp() - %(silent_after)s::interval and not o.stopping
        and other.place < array_position(o.queues, %(queue)s)
    ) as before
  from ledger.workers w
  cross join lateral (select %(queue)s = any (w.queues) as it) as taking
  where w.heartbeat_at > clock_timestamp() - %(silent_after)s::interval and not w.stopping
) as live on true
