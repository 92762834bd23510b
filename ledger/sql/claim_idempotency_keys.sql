-- Takes idempotency keys for jobs about to be made, in the transaction that makes them; a key past its time is free.
--   keys, job_ids, fingerprints (digests of the requests): as many of each, no key twice, sorted; ttl (seconds)
-- Returns the keys that are now ours. Waits for another transaction that is taking one of them; taken in their order, two
-- that share some never wait for each other. Primary key.
insert into ledger.idempotency_keys as k (key, job_id, fingerprint)
select w.key, w.job_id, w.fingerprint
from unnest(%(keys)s::text[], %(job_ids)s::uuid[], %(fingerprints)s::bytea[])
  with ordinality as w (key, job_id, fingerprint, place)
order by w.place
on conflict (key) do update
  set job_id = excluded.job_id, fingerprint = excluded.fingerprint, created_at = clock_timestamp()
  where k.created_at < clock_timestamp() - make_interval(secs => %(ttl)s)
returning k.key
