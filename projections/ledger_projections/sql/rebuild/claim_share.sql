-- Claims, until the transaction ends, a share that is not done and that nobody else is folding.
--   projections   of the rebuilds
-- Partition by partition, so that threads spread over the projections: two in one meet in its counters.
select s.projection, s.partition, s.born_from, s.born_to, c.high, c.old_holes + c.young_holes as holes
from ledger.rebuild_shares s
join ledger.cursors c on c.projection = s.projection and c.generation = 'next'
where s.projection = any (%(projections)s) and not s.done
order by s.partition, s.projection
limit 1
for update of s skip locked
