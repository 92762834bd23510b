-- Looks at the next events after a position: how many there are, the last of them, and the gaps between them.
--   high    everything up to here has been read
--   limit   how many events at most
-- Also returns the snapshot's xmin: every transaction below it has ended. The partitions' indexes on position are merged
-- in order; no row is visited.
with positions as materialized (
  select e.position
  from ledger.events e
  where e.position > %(high)s
  order by e.position
  limit %(limit)s
),
extent as (
  select count(*) as count, coalesce(max(p.position), %(high)s::bigint) as high from positions p
)
select
  pg_snapshot_xmin(pg_current_snapshot())::text::bigint as xmin,
  x.count,
  x.high,
  (
    select range_agg(int8range(s.previous + 1, s.position)) filter (where s.position > s.previous + 1)
    from (
      select p.position, lag(p.position, 1, %(high)s::bigint) over (order by p.position) as previous from positions p
    ) as s
    where x.high - %(high)s::bigint > x.count  -- else there are none, as nearly always
  ) as gaps
from extent x
