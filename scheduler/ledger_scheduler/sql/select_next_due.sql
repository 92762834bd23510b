-- In how many seconds the first job becomes due, which is past where one is due already; and the first of those that are
-- not: of the others the read model may not have heard yet that they were dealt with. Null where there is none. Two
-- steps on the partial index on run_at.
select
  (
    select extract(epoch from min(j.run_at) - clock_timestamp())::float8
    from ledger_read.jobs j
    where j.state in ('scheduled', 'retrying')
  ) as first,
  (
    select extract(epoch from min(j.run_at) - clock_timestamp())::float8
    from ledger_read.jobs j
    where j.state in ('scheduled', 'retrying') and j.run_at > now()
  ) as next
