-- What the API compares secrets with: every key, and whether it is good now, by the database's clock.
-- People make keys one by one, so the table is small: a scan of it.
select k.name, k.scope, k.digest, k.revoked_at is null and (k.expires_at is null or k.expires_at > clock_timestamp())
  from ledger.api_keys as k
