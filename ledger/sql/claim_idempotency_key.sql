-- Takes an idempotency key for a job about to be made, in the transaction that makes it; a key past its time is free.
--   key, job_id, fingerprint (digest of the request), ttl (seconds)
-- Returns a row if the key is now ours. Waits for another transaction that is taking the same key. Primary key.
insert into ledger.idempotency_keys as k (key, job_id, fingerprint)
values (%(key)s, %(job_id)s, %(fingerprint)s)
on conflict (key) do update
  set job_id = excluded.job_id, fingerprint = excluded.fingerprint, created_at = clock_timestamp()
  where k.created_at < clock_timestamp() - make_interval(secs => %(ttl)s)
returning true
