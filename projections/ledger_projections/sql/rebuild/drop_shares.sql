-- Forgets the shares of a rebuild that is done or begins anew.
--   projection
delete from ledger.rebuild_shares where projection = %(projection)s
