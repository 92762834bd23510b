-- Says that worker processes are alive, by this database's clock.
--
--   workers   one JSON array of {id, hostname, pid, version, queues, concurrency, running, stopping}
--
-- Sorted by id, so that two supervisors never wait for each other. Served by the primary key.
insert into ledger.workers (id, hostname, pid, version, queues, concurrency, running, stopping)
select w.id, w.hostname, w.pid, w.version, w.queues, w.concurrency, w.running, w.stopping
from json_to_recordset(%(workers)s::json) as w (
  id text, hostname text, pid int, version text, queues text[], concurrency int, running int, stopping boolean
)
order by w.id
on conflict (id) do update
set heartbeat_at = clock_timestamp(), running = excluded.running, stopping = excluded.stopping
