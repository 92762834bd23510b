-- What there is to do soon, as a sum: 1 where a job becomes due, 2 where a schedule has a tick, 4 where a job has expired.
--
--   within   how many seconds are soon; an expiry is not looked for ahead, as nobody waits for its moment
--
-- One step on each of the partial indexes on run_at, next_run_at and expires_at.
with first as (
  select
    (select min(j.run_at) from ledger_read.jobs j where j.state in ('scheduled', 'retrying')) as run_at,
    (select min(s.next_run_at) from ledger.schedules s) as tick_at,
    (
      select min(j.expires_at)
      from ledger_read.jobs j
      where j.state in ('scheduled', 'ready', 'retrying') and j.expires_at is not null
    ) as expires_at
),
limits as (
  select clock_timestamp() as now, clock_timestamp() + make_interval(secs => %(within)s::float8) as soon
)
select coalesce((f.run_at <= l.soon)::int, 0)
  + 2 * coalesce((f.tick_at <= l.soon)::int, 0)
  + 4 * coalesce((f.expires_at <= l.now)::int, 0)
from first f
cross join limits l
