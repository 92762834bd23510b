-- Forgets what a projection generation has parked.
--   projection   as the generation parks
delete from ledger.parked where projection = %(projection)s
