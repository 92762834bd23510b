-- Deletes the idempotency keys of the jobs of a range of ids. Reads all keys, which are kept for JOB_IDEMPOTENCY_TTL only.
--   born_from, born_to   the second is not in the range
delete from ledger.idempotency_keys where job_id >= %(born_from)s and job_id < %(born_to)s
