-- Those of these idempotency keys that stand for a job already. Primary key.
--   keys
select key from ledger.idempotency_keys where key = any (%(keys)s::text[])
