-- Bounds how long this transaction waits for another one's row.
--   lock_timeout
select set_config('lock_timeout', %(lock_timeout)s, true)
