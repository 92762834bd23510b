-- The oldest week of the log that is older than the retention, and how many of its jobs have not ended.
--   retention
-- Reads one partition, by the bounds of its ids.
with oldest as (
  select b.partition, b.born_from, b.born_to
  from ledger.partition_bounds() b
  where ledger.born(b.born_to) <= clock_timestamp() - %(retention)s::interval
    and exists (select from ledger.events e where e.job_id >= b.born_from and e.job_id < b.born_to)
  order by b.born_from
  limit 1
)
select
  o.partition,
  extract(epoch from clock_timestamp() - ledger.born(o.born_to))::float8 as age_seconds,
  counted.jobs - counted.ended as unended,
  extract(epoch from clock_timestamp() - counted.last_at)::float8 as quiet_seconds
from oldest o
cross join lateral (
  select count(*) filter (where e.version = 1) as jobs,
         count(*) filter (where e.kind in ('succeeded', 'cancelled', 'discarded')) as ended,
         max(e.at) as last_at
  from ledger.events e
  where e.job_id >= o.born_from and e.job_id < o.born_to
) as counted
