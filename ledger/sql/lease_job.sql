-- Leases one job that became ready when it was made, as `lease_jobs` does; it takes two thirds of the time.
--
--   job_id, nonce   the job, still ready at version 1, and what its outcome must carry
--   worker_id       who leases
--   lock_timeout    how long to wait for somebody's open transaction that holds the place
--
-- Returns the job's first event with position and time of the lease beside it, or nothing. One look-up in one week, which
-- is hidden from the planner as in `lease_jobs`: knowing it, the planner would plan anew for every lease.
with ready as materialized (
  select e.*
  from ledger.events e
  where e.job_id = case when now() is not null then %(job_id)s::uuid end and e.version = 1 and e.kind = 'enqueued'
    and e.queue <> all (array(select x.queue from ledger.pauses x))
    and ((e.data ->> 'expires_at')::timestamptz > clock_timestamp()) is not false
    and set_config('lock_timeout', %(lock_timeout)s, true) is not null
    and set_config('synchronous_commit', 'off', true) is not null
),
leased as (
  insert into ledger.events (job_id, version, kind, queue, priority, actor, data)
  select
    r.job_id, 2, 'leased', r.queue, r.priority, 'worker:' || %(worker_id)s::text,
    json_build_object('worker_id', %(worker_id)s::text, 'attempt', 1, 'nonce', %(nonce)s::text, 'ready_at', r.at)
  from ready r
  on conflict (job_id, version) do nothing
  returning position, at
)
select
  r.job_id, r.version, r.position, r.at, r.kind::text, r.queue, r.priority, r.actor, r.schema_version, r.data::text,
  r.body::text, r.meta::text, l.position, l.at
from ready r
cross join leased l
