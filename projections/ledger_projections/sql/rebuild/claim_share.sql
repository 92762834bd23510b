-- Claims, until the transaction ends, a share that is not done and that nobody else is folding, and with it the same share
-- of the other projections that stand at the same place in it.
--   projections   of the rebuilds
-- A row that was waiting to be locked may have moved since the snapshot, so places are compared as the locks found them.
with first as materialized (
  select s.projection, s.partition, s.born_from, s.born_to, c.high, c.old_holes + c.young_holes as holes
  from ledger.rebuild_shares s
  join ledger.cursors c on c.projection = s.projection and c.generation = 'next'
  where s.projection = any (%(projections)s) and not s.done
  order by s.partition, s.projection
  limit 1
  for update of s skip locked
),
others as materialized (
  select s.projection, s.partition, s.born_from, s.born_to, f.high, f.holes
  from first f
  join ledger.rebuild_shares s on s.partition = f.partition and s.projection <> f.projection
  join ledger.cursors c on c.projection = s.projection and c.generation = 'next'
  where s.projection = any (%(projections)s)
    and not s.done
    and c.high = f.high
    and c.old_holes + c.young_holes = f.holes
  for update of s skip locked
)
select f.projection, f.partition, f.born_from, f.born_to, f.high, f.holes from first f
union all
select o.projection, o.partition, o.born_from, o.born_to, o.high, o.holes
from others o
join first f on o.born_from = f.born_from
order by projection
