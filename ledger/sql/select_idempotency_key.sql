-- The job an idempotency key stands for.
--   key
-- Primary key.
select job_id, fingerprint from ledger.idempotency_keys where key = %(key)s
