-- Worker processes: the live ones, and those silent for less than a day.
--   silent_after   a worker whose last heartbeat is older is not alive
select
  w.id, w.hostname, w.pid, w.version, w.queues, w.concurrency, w.running, w.started_at, w.heartbeat_at,
  w.heartbeat_at > statement_timestamp() - %(silent_after)s::interval as alive, w.stopping
from ledger.workers w
where w.heartbeat_at > statement_timestamp() - interval '1 day'
order by w.id
