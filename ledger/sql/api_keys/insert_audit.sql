-- Puts on record what was done to a key, in the transaction that does it.
--   actor, action, subject (the name of the key), reason, before, after (JSON texts or null)
-- Insert only.
insert into ledger.audit (actor, action, subject, reason, before, after)
values (%(actor)s, %(action)s, %(subject)s, %(reason)s, %(before)s, %(after)s)
