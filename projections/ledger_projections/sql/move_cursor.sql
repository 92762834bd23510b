-- Moves cursors that stand at the same place on, those that are where the reader found them: the fence against a projector
-- that was overtaken.
--   projections, versions, marks, generation, expected_high   which cursors, where they were, and where their rows stand
--   high, old_holes, old_horizon, young_holes, young_horizon, origin   where they are now
-- Returns where their rows stand then. A row that has changed since it was read stands elsewhere, and is not changed.
update ledger.cursors c
set high = %(high)s,
    old_holes = %(old_holes)s::int8multirange,
    old_horizon = %(old_horizon)s,
    young_holes = %(young_holes)s::int8multirange,
    young_horizon = %(young_horizon)s,
    origin = %(origin)s,
    moved_at = clock_timestamp()
from unnest(%(projections)s::text[], %(versions)s::int[], %(marks)s::text[]) as t (projection, version, mark)
where c.ctid = t.mark::tid
  and c.projection = t.projection
  and c.generation = %(generation)s
  and c.version = t.version
  and c.high = %(expected_high)s
returning c.projection, c.ctid::text
