-- Whether all these cursors stand where their reader left them, without holes, filled by the same versions of the code.
--   projections, versions, generation, high
select count(*) = cardinality(%(projections)s::text[])
from unnest(%(projections)s::text[], %(versions)s::int[]) as t (projection, version)
join ledger.cursors c on c.projection = t.projection and c.generation = %(generation)s
where c.version = t.version and c.high = %(high)s and isempty(c.old_holes) and isempty(c.young_holes)
