-- Looks at the next events of a share: how many there are, and the last of them.
--   born_from, born_to   of the jobs; the second is not in the range
--   position             folded up to here
--   high, holes          as when the shares were planned
--   limit                how many events at most
-- Served by the partition's index on position.
select count(*) as count, coalesce(max(next.position), %(high)s::bigint) as position
from (
  select e.position
  from ledger.events e
  where e.job_id >= %(born_from)s and e.job_id < %(born_to)s
    and e.position > %(position)s and e.position <= %(high)s and not e.position <@ %(holes)s::int8multirange
  order by e.position
  limit %(limit)s
) as next
