-- Looks at the next jobs of a share, whole lives, about as many as have so many events.
--   born_from, born_to   of the jobs that are left; the second is not in the range
--   high, holes          as when the shares were planned
--   limit                how many events, more or less
-- Returns the last of these jobs (null: none is left), how many events they have, and whether they are the last of the
-- share. Served by the partition's primary key.
with window_ as (
  select e.job_id
  from ledger.events e
  where e.job_id >= %(born_from)s and e.job_id < %(born_to)s
    and e.position <= %(high)s and not e.position <@ %(holes)s::int8multirange
  order by e.job_id
  limit %(limit)s
),
last as (
  select w.job_id from window_ w order by w.job_id desc limit 1
)
select
  last.job_id,
  (
    select count(*)
    from ledger.events e
    where e.job_id >= %(born_from)s and e.job_id <= last.job_id
      and e.position <= %(high)s and not e.position <@ %(holes)s::int8multirange
  ) as count,
  (select count(*) from window_) < %(limit)s as done
from (select) as always
left join last on true
