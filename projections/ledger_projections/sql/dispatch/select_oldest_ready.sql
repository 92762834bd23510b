-- The jobs that have been ready longest, of every queue and priority: the sample the reconciler looks for in Redis.
--
--   sample  how many of each queue and priority
--   age     how long a job must have been ready; a younger one may still be on its way
--
-- Hops from one (queue, priority) to the next over the index of ready jobs (queue, priority, ready_at), so its cost
-- grows with their number and not with the backlog. What the read model still calls ready but the log has moved on from
-- is left out by the primary key of the log.
with recursive places as (
  (
    select j.queue, j.priority from ledger_read.jobs j where j.state = 'ready'
    order by j.queue, j.priority limit 1
  )
  union all
  select n.queue, n.priority
  from places p
  cross join lateral (
    select j.queue, j.priority from ledger_read.jobs j
    where j.state = 'ready' and (j.queue, j.priority) > (p.queue, p.priority)
    order by j.queue, j.priority limit 1
  ) as n
)
select o.queue, o.priority, o.job_id, o.version, o.attempt + 1 as attempt, o.type
from places p
cross join lateral (
  select j.queue, j.priority, j.job_id, j.version, j.attempt, j.type, j.ready_at
  from ledger_read.jobs j
  where j.state = 'ready' and j.queue = p.queue and j.priority = p.priority
    and j.ready_at < clock_timestamp() - %(age)s::interval
  order by j.ready_at, j.job_id
  limit %(sample)s::bigint
) as o
where (select e.version from ledger.events e where e.job_id = o.job_id and e.version = o.version + 1) is null
order by o.queue, o.priority, o.ready_at
