-- Moves cursors that stand at the same place on, those that are where the reader found them: the fence against a projector
-- that was overtaken.
--   projections, versions, generation, expected_high   which cursors, and where they were
--   high, old_holes, old_horizon, young_holes, young_horizon, origin   where they are now
update ledger.cursors c
set high = %(high)s,
    old_holes = %(old_holes)s::int8multirange,
    old_horizon = %(old_horizon)s,
    young_holes = %(young_holes)s::int8multirange,
    young_horizon = %(young_horizon)s,
    origin = %(origin)s,
    moved_at = clock_timestamp()
from unnest(%(projections)s::text[], %(versions)s::int[]) as t (projection, version)
where c.projection = t.projection
  and c.generation = %(generation)s
  and c.version = t.version
  and c.high = %(expected_high)s
