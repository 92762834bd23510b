-- Makes the next generation's cursor the live one.
--   projection
insert into ledger.cursors as live (
  projection, generation, version, high, old_holes, old_horizon, young_holes, young_horizon, origin
)
select c.projection, 'live', c.version, c.high, c.old_holes, c.old_horizon, c.young_holes, c.young_horizon, c.origin
from ledger.cursors c
where c.projection = %(projection)s and c.generation = 'next'
on conflict (projection, generation) do update
set version = excluded.version, high = excluded.high,
    old_holes = excluded.old_holes, old_horizon = excluded.old_horizon,
    young_holes = excluded.young_holes, young_horizon = excluded.young_horizon,
    origin = excluded.origin, moved_at = clock_timestamp()
