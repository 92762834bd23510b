-- Forgets the next generation's cursor.
--   projection
delete from ledger.cursors where projection = %(projection)s and generation = 'next'
