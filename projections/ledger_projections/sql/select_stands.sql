-- Whether a cursor stands where its reader left it, without holes, filled by the same version of the code.
--   projection, generation, version, high
select c.version = %(version)s and c.high = %(high)s and isempty(c.old_holes) and isempty(c.young_holes)
from ledger.cursors c
where c.projection = %(projection)s and c.generation = %(generation)s
