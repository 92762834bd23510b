-- Moves a cursor on, if it is where the reader found it: the fence against a projector that was overtaken.
--   projection, generation, version, expected_high   which cursor, and where it was
--   high, old_holes, old_horizon, young_holes, young_horizon, origin   where it is now
update ledger.cursors
set high = %(high)s,
    old_holes = %(old_holes)s::int8multirange,
    old_horizon = %(old_horizon)s,
    young_holes = %(young_holes)s::int8multirange,
    young_horizon = %(young_horizon)s,
    origin = %(origin)s,
    moved_at = clock_timestamp()
where projection = %(projection)s
  and generation = %(generation)s
  and version = %(version)s
  and high = %(expected_high)s
