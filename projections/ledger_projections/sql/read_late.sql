-- Finds the holes that have been filled.
--   holes   int8multirange of the positions not seen yet
--   limit   how many at most
-- One range of each partition's index on position is read for each hole.
select e.position
from unnest(%(holes)s::int8multirange) as hole
cross join lateral (
  select f.position
  from ledger.events f
  where f.position >= lower(hole) and f.position < upper(hole)
  offset 0  -- keeps the planner from joining the whole log instead
) as e
order by e.position
limit %(limit)s
