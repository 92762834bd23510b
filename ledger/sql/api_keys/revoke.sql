-- Revokes keys that are not revoked yet.
--   ids
-- Returns (id, name, revoked_at) of those revoked now, each once: of two that revoke the same key, the second waits for
-- the row and finds it revoked. Primary key.
update ledger.api_keys as k set revoked_at = clock_timestamp()
  where k.id = any(%(ids)s) and k.revoked_at is null
returning k.id, k.name, k.revoked_at
