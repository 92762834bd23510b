-- The workers that have leases, by the read model, and have not been heard of for too long.
--
--   timeout   how long a worker may be silent
--
-- Returns the worker, whether it has a row at all, this database's time, which alone judges, and which server this is: it
-- is another one since a restart, a restore or a failover. One row without a worker says that nobody is silent. With each,
-- in how many seconds the first of the others will be, unless it is heard of. Hops from worker to worker over the partial
-- index on (worker_id, job_id) of running jobs: the cost grows with their number, not with the number of leases.
with recursive holders as (
  (select j.worker_id from ledger_read.jobs j where j.state = 'running' order by j.worker_id limit 1)
  union all
  select n.worker_id
  from holders h
  cross join lateral (
    select j.worker_id from ledger_read.jobs j
    where j.state = 'running' and j.worker_id > h.worker_id
    order by j.worker_id limit 1
  ) as n
),
judged as materialized (
  select h.worker_id, w.id is not null as known,
    extract(epoch from w.heartbeat_at + %(timeout)s::interval - clock_timestamp())::float8 as remaining
  from holders h
  left join ledger.workers w on w.id = h.worker_id
)
select clock_timestamp() as now, pg_postmaster_start_time() as server,
  (select min(j.remaining) from judged j where j.remaining >= 0) as soon, s.worker_id, s.known
from (select) as always
left join judged s on s.remaining is null or s.remaining < 0
