-- Counts of jobs that are not those of the log: each job counts in the state that its last event leads to.
--   high, holes, parked   how far `queue_stats` has read, and the jobs it has set aside
-- One pass over the log.
with standing as (
  select distinct on (e.job_id) e.queue, e.priority, e.kind
  from ledger.events e
  where e.position <= %(high)s and not e.position <@ %(holes)s::int8multirange and e.job_id <> all (%(parked)s::uuid[])
  order by e.job_id, e.version desc
),
expected as (
  select
    s.queue, s.priority,
    case s.kind
      when 'scheduled' then 'scheduled'
      when 'enqueued' then 'ready'
      when 'leased' then 'running'
      when 'retried' then 'retrying'
      when 'dead_lettered' then 'dead'
    end as state,
    count(*) as count
  from standing s
  group by 1, 2, 3
)
select
  concat_ws(' ', 'queue', coalesce(c.queue, e.queue), 'priority', coalesce(c.priority, e.priority)) as subject,
  coalesce(e.count, 0) || ' ' || coalesce(c.state, e.state) as expected,
  coalesce(c.count, 0) || ' ' || coalesce(c.state, e.state) as found
from (select e.queue, e.priority, e.state, e.count from expected e where e.state is not null) as e
full join ledger_read.queue_counts c on c.queue = e.queue and c.priority = e.priority and c.state = e.state
where coalesce(e.count, 0) <> coalesce(c.count, 0)
order by 1, 2
