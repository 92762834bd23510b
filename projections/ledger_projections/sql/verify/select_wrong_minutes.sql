-- Minutes whose counters, or whose numbers of measured waits and runs, are not those of the log.
--   high, holes, parked   how far `queue_stats` has read, and the jobs it has set aside
-- One pass over the log, one over the read model.
with placed as (
  select
    e.queue, e.priority, e.kind, e.at, e.data,
    lag(e.kind) over (partition by e.job_id order by e.version) as before_kind
  from ledger.events e
  where e.position <= %(high)s and not e.position <@ %(holes)s::int8multirange and e.job_id <> all (%(parked)s::uuid[])
),
expected as (
  select
    p.queue, p.priority, date_trunc('minute', p.at) as minute,
    format(
      'enqueued %%s, succeeded %%s, failed %%s, retried %%s, dead_lettered %%s, cancelled %%s, crashed %%s, '
      'waits %%s, runs %%s',
      count(*) filter (where p.kind = 'enqueued'),
      count(*) filter (where p.kind = 'succeeded'),
      count(*) filter (where p.kind = 'failed'),
      count(*) filter (where p.kind = 'retried'),
      count(*) filter (where p.kind = 'dead_lettered'),
      count(*) filter (where p.kind = 'cancelled'),
      count(*) filter (
        where (p.kind = 'enqueued' and p.data ->> 'crash_count' is not null)
          or (p.kind = 'dead_lettered' and p.before_kind = 'leased')
      ),
      count(*) filter (where p.kind = 'leased'),
      count(*) filter (where p.kind in ('succeeded', 'failed') and p.data ->> 'duration_ms' is not null)
    ) as said
  from placed p
  where p.kind not in ('scheduled', 'discarded') and date_trunc('minute', p.at) >= (select ledger.counted_from())
  group by 1, 2, 3
),
measured as (
  select
    h.queue, h.priority, h.minute,
    sum(h.count) filter (where h.measure = 'wait') as waits,
    sum(h.count) filter (where h.measure = 'run') as runs
  from ledger_read.queue_histograms h
  group by 1, 2, 3
),
found as (
  select
    coalesce(m.queue, h.queue) as queue, coalesce(m.priority, h.priority) as priority,
    coalesce(m.minute, h.minute) as minute,
    format(
      'enqueued %%s, succeeded %%s, failed %%s, retried %%s, dead_lettered %%s, cancelled %%s, crashed %%s, '
      'waits %%s, runs %%s',
      m.enqueued, m.succeeded, m.failed, m.retried, m.dead_lettered, m.cancelled, m.crashed,
      coalesce(h.waits, 0), coalesce(h.runs, 0)
    ) as said
  from ledger_read.queue_minutes m
  full join measured h on h.queue = m.queue and h.priority = m.priority and h.minute = m.minute
)
select
  concat_ws(
    ' ', 'queue', coalesce(e.queue, f.queue), 'priority', coalesce(e.priority, f.priority),
    coalesce(e.minute, f.minute)
  ) as subject,
  coalesce(e.said, 'nothing') as expected,
  coalesce(f.said, 'nothing') as found
from expected e
full join found f on f.queue = e.queue and f.priority = e.priority and f.minute = e.minute
where e.said is distinct from f.said
order by 1
