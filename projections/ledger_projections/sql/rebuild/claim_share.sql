-- Claims, until the transaction ends, a share that is not done and that nobody else is folding, and with it the same share
-- of the other projections that stand at the same place in it.
--   projections   of the rebuilds
with first as materialized (
  select s.partition, s.born_from, c.high, c.old_holes + c.young_holes as holes
  from ledger.rebuild_shares s
  join ledger.cursors c on c.projection = s.projection and c.generation = 'next'
  where s.projection = any (%(projections)s) and not s.done
  order by s.partition, s.projection
  limit 1
  for update of s skip locked
)
select s.projection, s.partition, s.born_from, s.born_to, f.high, f.holes
from first f
join ledger.rebuild_shares s on s.partition = f.partition and s.born_from = f.born_from
join ledger.cursors c on c.projection = s.projection and c.generation = 'next'
where s.projection = any (%(projections)s)
  and not s.done
  and c.high = f.high
  and c.old_holes + c.young_holes = f.holes
for update of s skip locked
