-- Makes the shares of some rebuilds: each partition that holds something to fold, in slices of time, so that it too can be
-- folded in parallel.
--   projections   which begin at the same place
--   high, holes   what there is to fold: every position up to `high` but for the holes; a set that never changes again
--   slices        how many a partition is cut into, at most
-- Counting visits every partition once.
with bounds as materialized (
  select
    p.partition,
    to_regclass(format('ledger.%%I', p.partition)) as place,
    p.born_from,
    p.born_to,
    array(
      select ledger.lowest_id(ledger.born(first.job_id) + (ledger.born(last.job_id) - ledger.born(first.job_id)) * n
                              / %(slices)s::int)
      from generate_series(1, %(slices)s::int - 1) as n
      order by n
    ) as cuts
  from ledger.partition_bounds() as p
  cross join lateral (
    select e.job_id from ledger.events e where e.job_id >= p.born_from and e.job_id < p.born_to order by e.job_id limit 1
  ) as first
  cross join lateral (
    select e.job_id from ledger.events e where e.job_id >= p.born_from and e.job_id < p.born_to
    order by e.job_id desc limit 1
  ) as last
),
counted as (
  select b.place, width_bucket(e.job_id, b.cuts) as slice, count(*) as total
  from ledger.events e
  join bounds b on b.place = e.tableoid
  where e.position <= %(high)s and not e.position <@ %(holes)s::int8multirange
  group by 1, 2
)
insert into ledger.rebuild_shares (projection, partition, born_from, born_to, total)
select
  name, b.partition || '/' || c.slice, coalesce(b.cuts[c.slice], b.born_from), coalesce(b.cuts[c.slice + 1], b.born_to),
  c.total
from counted c
join bounds b on b.place = c.place
cross join unnest(%(projections)s::text[]) as name
