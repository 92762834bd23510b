-- In how many seconds the first tick is, which is past where one is due already; and the first of those that are not: the
-- others were just dealt with, or cannot be. Null where there is none. Two steps on the partial index on next_run_at.
select
  (select extract(epoch from min(s.next_run_at) - clock_timestamp())::float8 from ledger.schedules s) as first,
  (
    select extract(epoch from min(s.next_run_at) - clock_timestamp())::float8
    from ledger.schedules s
    where s.next_run_at > now()
  ) as next
