-- Notes how far a share has been folded.
--   projection, partition, position
--   count   events folded now
--   done    the share holds no more
update ledger.rebuild_shares
set position = %(position)s, folded = folded + %(count)s, done = %(done)s
where projection = %(projection)s and partition = %(partition)s
