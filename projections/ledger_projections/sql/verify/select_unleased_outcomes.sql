-- I7: an outcome stands right after the lease of the worker who recorded it. Outcomes are succeeded, failed, a snooze
-- (`scheduled` after the first version) and a release by the worker itself. One pass in the order of the primary key.
with placed as (
  select
    e.job_id, e.version, e.kind, e.actor, e.data ->> 'reason' as reason,
    lag(e.kind) over job as before_kind,
    lag(e.version) over job as before_version,
    lag(e.data ->> 'worker_id') over job as worker_id
  from ledger.events e
  window job as (partition by e.job_id order by e.version)
)
select p.job_id || ':' || p.version as subject,
       p.kind::text || ' right after the lease of ' || p.actor as expected,
       case
         when p.before_kind = 'leased' and p.before_version = p.version - 1 then 'the lease is of worker:' || p.worker_id
         else coalesce(p.before_kind::text || ' at version ' || p.before_version, 'nothing') || ' before it'
       end as found
from placed p
where (
    p.kind in ('succeeded', 'failed')
    or (p.kind = 'scheduled' and p.version > 1)
    or (p.kind = 'enqueued' and p.reason in ('shutdown', 'unknown_type'))
  )
  and (
    p.before_kind = 'leased' and p.before_version = p.version - 1 and p.actor = 'worker:' || p.worker_id
  ) is not true
order by p.job_id, p.version
