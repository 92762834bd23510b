-- The jobs a worker may try to lease while Redis is away: ready ones of its queues and types, first things first.
--
--   queues   names, the one to serve first in front
--   types    the types this worker has handlers for
--   tried, versions   the jobs it has tried lately, and at which version; the read model may not have heard yet
--   wanted   how many at most
--
-- Paused queues are left out. A stale row does no harm: the lease asks the log. Served by the partial index on (queue,
-- priority, ready_at) of ready jobs, a short scan a queue.
select j.job_id, j.version, j.attempt + 1 as attempt, j.type
from unnest(%(queues)s::text[]) with ordinality as q (name, place)
cross join lateral (
  select r.job_id, r.version, r.attempt, r.type, r.priority, r.ready_at
  from ledger_read.jobs r
  where r.queue = q.name and r.state = 'ready' and r.type = any (%(types)s::text[])
    and (r.job_id, r.version) not in (
      select t.job_id, t.version from unnest(%(tried)s::uuid[], %(versions)s::int[]) as t (job_id, version)
    )
  order by r.priority, r.ready_at
  limit %(wanted)s::int
) as j
where q.name <> all (array(select p.queue from ledger.pauses p))
order by q.place, j.priority, j.ready_at
limit %(wanted)s::int
