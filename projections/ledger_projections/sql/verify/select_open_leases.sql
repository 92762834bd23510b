-- I8: between two leases of a job stands an event that closed the first. One pass in the order of the primary key.
with placed as (
  select e.job_id, e.version, e.kind, lag(e.kind) over job as before_kind
  from ledger.events e
  window job as (partition by e.job_id order by e.version)
)
select p.job_id || ':' || p.version as subject, 'the lease before it closed' as expected, 'still open' as found
from placed p
where p.kind = 'leased' and p.before_kind = 'leased'
order by p.job_id, p.version
