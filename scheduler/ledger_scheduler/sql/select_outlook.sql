-- In how many seconds the first job becomes due, the first schedule has a tick and the first job expires; negative where
-- that time has come, null where there is none. Without parameters, and so planned but once a connection. One step on
-- each of the partial indexes on run_at, next_run_at and expires_at.
select
  (
    select extract(epoch from min(j.run_at) - clock_timestamp())::float8
    from ledger_read.jobs j
    where j.state in ('scheduled', 'retrying')
  ) as due,
  (select extract(epoch from min(s.next_run_at) - clock_timestamp())::float8 from ledger.schedules s) as tick,
  (
    select extract(epoch from min(j.expires_at) - clock_timestamp())::float8
    from ledger_read.jobs j
    where j.state in ('scheduled', 'ready', 'retrying') and j.expires_at is not null
  ) as expiry
