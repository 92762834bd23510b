-- Makes a key, unless it would have expired before it exists; by the database's clock.
--   id, name, scope, digest, actor, expires_at (time or null), expires_in (interval or null)
-- Returns the key as `select` does. Locks nothing but its own row.
insert into ledger.api_keys as k (id, name, scope, digest, created_by, expires_at)
select %(id)s, %(name)s, %(scope)s, %(digest)s, %(actor)s, ends.at
  from (select coalesce(%(expires_at)s::timestamptz, clock_timestamp() + %(expires_in)s::interval) as at) as ends
  where ends.at is null or ends.at > clock_timestamp()
returning k.id, k.name, k.scope, 'valid', k.created_at, k.created_by, k.expires_at, k.revoked_at
