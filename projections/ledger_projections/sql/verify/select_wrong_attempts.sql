-- Attempts that are not what the log says: one a lease, with what the events after it made of it.
--   high, holes, parked   how far `attempts` has read, and the jobs it has set aside
-- Written apart from the projection's own fold on purpose. One pass over the log, one over the read model.
with placed as (
  select
    e.job_id, e.version, e.kind, e.at, e.data,
    lead(e.kind) over job as next_kind,
    lead(e.at) over job as next_at,
    lead(e.data) over job as next_data,
    lead(e.kind, 2) over job as second_kind
  from ledger.events e
  where e.position <= %(high)s and not e.position <@ %(holes)s::int8multirange and e.job_id <> all (%(parked)s::uuid[])
  window job as (partition by e.job_id order by e.version)
),
expected as (
  select
    p.job_id, p.version as lease_version,
    concat_ws(
      ' ',
      'attempt', p.data ->> 'attempt', 'by', p.data ->> 'worker_id',
      case
        when p.next_kind is null then 'running'
        when p.next_kind = 'failed' and p.second_kind = 'dead_lettered' then 'dead'
        when p.next_kind = 'dead_lettered' then 'crashed'
        when p.next_kind = 'scheduled' then 'snoozed'
        when p.next_kind = 'enqueued' and p.next_data ->> 'crash_count' is not null then 'crashed'
        when p.next_kind = 'enqueued' then 'released'
        else p.next_kind::text
      end,
      'from', p.at, 'to', p.next_at
    ) as said
  from placed p
  where p.kind = 'leased'
),
found as (
  select
    a.job_id, a.lease_version,
    concat_ws(' ', 'attempt', a.attempt, 'by', a.worker_id, a.state, 'from', a.started_at, 'to', a.completed_at) as said
  from ledger_read.attempts a
)
select
  coalesce(expected.job_id, found.job_id) || ':' || coalesce(expected.lease_version, found.lease_version) as subject,
  coalesce(expected.said, 'no attempt') as expected,
  coalesce(found.said, 'no attempt') as found
from expected
full join found on found.job_id = expected.job_id and found.lease_version = expected.lease_version
where expected.said is distinct from found.said
order by 1
