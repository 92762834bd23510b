-- Gives the live generation what the next one has parked.
--   projection   as the live one parks
--   next         as the next one parks
update ledger.parked set projection = %(projection)s where projection = %(next)s
