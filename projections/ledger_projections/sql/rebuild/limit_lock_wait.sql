-- Bounds how long this transaction waits for a lock.
--   wait   as `200ms`
select set_config('lock_timeout', %(wait)s, true)
