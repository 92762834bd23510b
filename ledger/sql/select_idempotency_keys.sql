-- The jobs that idempotency keys stand for.
--   keys
-- Primary key.
select k.key, k.job_id, k.fingerprint from ledger.idempotency_keys k where k.key = any(%(keys)s::text[])
