-- 1 where all these cursors stand where their reader left them, without holes, filled by the same versions of the code.
--   projections, versions   with commas between
--   generation, high
select (count(*) = cardinality(string_to_array(%(projections)s::text, ',')))::int
from unnest(
  string_to_array(%(projections)s::text, ','), string_to_array(%(versions)s::text, ',')::int[]
) as t (projection, version)
join ledger.cursors c on c.projection = t.projection and c.generation = %(generation)s::text
where c.version = t.version and c.high = %(high)s::bigint and isempty(c.old_holes) and isempty(c.young_holes)
