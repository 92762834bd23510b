-- The cursors of a projection, as they are stored.
--   projection
select c.generation, c.version, c.high, c.old_holes, c.old_horizon, c.young_holes, c.young_horizon, c.origin
from ledger.cursors c
where c.projection = %(projection)s
