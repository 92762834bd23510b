-- Minutes whose counts of runs are not those of the log: each run counts in the minute of its lease.
--   high, holes, parked   how far `attempts` has read, and the jobs it has set aside
-- One pass over the log.
with placed as (
  select
    e.kind, e.at,
    lead(e.kind) over job as next_kind,
    lead(e.data) over job as next_data,
    lead(e.kind, 2) over job as second_kind
  from ledger.events e
  where e.position <= %(high)s and not e.position <@ %(holes)s::int8multirange and e.job_id <> all (%(parked)s::uuid[])
  window job as (partition by e.job_id order by e.version)
),
expected as (
  select
    date_trunc('minute', p.at) as minute,
    format(
      'running %%s, succeeded %%s, failed %%s, dead %%s, snoozed %%s, released %%s, crashed %%s, cancelled %%s, measured %%s',
      count(*) filter (where p.next_kind is null),
      count(*) filter (where p.next_kind = 'succeeded'),
      count(*) filter (where p.next_kind = 'failed' and p.second_kind is distinct from 'dead_lettered'),
      count(*) filter (where p.next_kind = 'failed' and p.second_kind = 'dead_lettered'),
      count(*) filter (where p.next_kind = 'scheduled'),
      count(*) filter (where p.next_kind = 'enqueued' and p.next_data ->> 'crash_count' is null),
      count(*) filter (
        where p.next_kind = 'dead_lettered' or (p.next_kind = 'enqueued' and p.next_data ->> 'crash_count' is not null)
      ),
      count(*) filter (where p.next_kind = 'cancelled'),
      count(*) filter (where p.next_kind in ('succeeded', 'failed') and p.next_data ->> 'duration_ms' is not null)
    ) as said
  from placed p
  where p.kind = 'leased' and date_trunc('minute', p.at) >= (select ledger.counted_from())
  group by 1
),
found as (
  select
    m.minute,
    format(
      'running %%s, succeeded %%s, failed %%s, dead %%s, snoozed %%s, released %%s, crashed %%s, cancelled %%s, measured %%s',
      m.running, m.succeeded, m.failed, m.dead, m.snoozed, m.released, m.crashed, m.cancelled, m.measured
    ) as said
  from ledger_read.attempt_minutes m
)
select
  'runs that began in ' || coalesce(e.minute, f.minute) as subject,
  coalesce(e.said, 'nothing') as expected,
  coalesce(f.said, 'nothing') as found
from expected e
full join found f on f.minute = e.minute
where e.said is distinct from f.said
order by 1
