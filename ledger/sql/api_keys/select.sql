-- Every key that was ever made, by name, then in the order they were made; expiry is judged by the database's clock.
-- People make keys one by one, so the table is small: a scan of it.
select k.id, k.name, k.scope,
       case when k.revoked_at is not null then 'revoked'
            when k.expires_at <= clock_timestamp() then 'expired'
            else 'valid' end,
       k.created_at, k.created_by, k.expires_at, k.revoked_at
  from ledger.api_keys as k
  order by k.name, k.id
