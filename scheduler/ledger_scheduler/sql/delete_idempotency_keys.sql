-- Deletes idempotency keys that are older than their time, the oldest first.
--
--   ttl     how long a key is kept
--   limit   how many at most, so that no statement is long
--
-- Keys in somebody's hands are left for the next time, so two schedulers never wait for each other. Served by the index
-- on created_at.
delete from ledger.idempotency_keys
where key = any (array(
  select k.key
  from ledger.idempotency_keys k
  where k.created_at < now() - %(ttl)s::interval
  order by k.created_at
  limit %(limit)s::bigint
  for update skip locked
))
