-- Keeps these idempotency keys for good: no age is ever over their time. In the transaction that has taken them, so their
-- rows are locked already. Primary key.
--   keys
update ledger.idempotency_keys set created_at = 'infinity' where key = any (%(keys)s::text[])
