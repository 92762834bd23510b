-- I9: `attempt` counts the job's leases from 1; since the last retry by an operator there are at most max_retries + 1
-- failures, the recorded crash_count is the number of workers lost, and it stays within max_crashes. A lease that expired
-- before its run began carries none and counts for nothing.
--   max_crashes   the setting
-- One pass in the order of the primary key. `round` counts the operator's retries, each of which gives a new budget.
with marked as (
  select
    e.job_id, e.version, e.kind, e.data,
    e.kind = 'retried' and e.data ->> 'requeue_count' is not null as requeued,
    (e.kind = 'enqueued' and e.data ->> 'crash_count' is not null)
      or (e.kind = 'dead_lettered' and e.data ->> 'reason' = 'poison') as crashed
  from ledger.events e
),
rounds as (
  select
    m.job_id, m.version, m.kind, m.data, m.crashed,
    count(*) filter (where m.requeued) over job as round,
    count(*) filter (where m.kind = 'leased') over job as leases,
    (first_value(m.data ->> 'max_retries') over job)::int as max_retries
  from marked m
  window job as (partition by m.job_id order by m.version)
),
counted as (
  select
    r.job_id, r.version, r.kind, r.data, r.crashed, r.leases, r.max_retries,
    count(*) filter (where r.kind = 'failed') over round as failures,
    count(*) filter (where r.crashed) over round as crashes
  from rounds r
  window round as (partition by r.job_id, r.round order by r.version)
)
select n.job_id || ':' || n.version as subject, c.expected, c.found
from counted n
cross join lateral (
  select 'attempt ' || n.leases as expected, 'attempt ' || coalesce(n.data ->> 'attempt', 'missing') as found
  where n.kind = 'leased' and n.data ->> 'attempt' is distinct from n.leases::text
  union all
  select 'at most ' || n.max_retries + 1 || ' failures', n.failures || ' failures'
  where n.kind = 'failed' and n.failures > n.max_retries + 1
  union all
  select 'crash_count ' || n.crashes, 'crash_count ' || coalesce(n.data ->> 'crash_count', 'missing')
  where n.crashed and n.data ->> 'crash_count' is distinct from n.crashes::text
  union all
  select 'at most ' || %(max_crashes)s::int || ' crashes', n.crashes || ' crashes'
  where n.crashed and n.crashes > %(max_crashes)s::int
) as c
order by n.job_id, n.version
