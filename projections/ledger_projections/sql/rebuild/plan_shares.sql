-- Makes the shares of some rebuilds: each partition that holds something to fold, in slices of time, so that it too can be
-- folded in parallel.
--   projections   which begin at the same place
--   slices        how many a partition is cut into, at most
-- To be run in the snapshot in which that place was read: what it shows is what there is to fold, a set that never changes
-- again. So it is counted in the partitions' keys alone, a slice at a time.
with bounds as materialized (
  select
    p.partition,
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
slices as materialized (
  select
    b.partition || '/' || n as partition,
    coalesce(b.cuts[n], b.born_from) as born_from,
    coalesce(b.cuts[n + 1], b.born_to) as born_to
  from bounds b
  cross join generate_series(0, %(slices)s::int - 1) as n
),
counted as materialized (
  select
    s.partition, s.born_from, s.born_to,
    (select count(*) from ledger.events e where e.job_id >= s.born_from and e.job_id < s.born_to) as total
  from slices s
)
insert into ledger.rebuild_shares (projection, partition, born_from, born_to, total)
select name, c.partition, c.born_from, c.born_to, c.total
from counted c
cross join unnest(%(projections)s::text[]) as name
where c.total > 0
