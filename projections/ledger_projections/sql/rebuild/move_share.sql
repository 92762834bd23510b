-- Notes how far a share has been folded.
--   projection, partition
--   born_from   of the jobs that are left
--   count       events folded now
--   done        no job is left
update ledger.rebuild_shares
set born_from = %(born_from)s, folded = folded + %(count)s, done = %(done)s
where projection = %(projection)s and partition = %(partition)s
