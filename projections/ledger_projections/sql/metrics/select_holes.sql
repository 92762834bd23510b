-- How many positions each projection is still waiting for: drawn, and neither seen nor known to be void.
-- No parameters. One row a live cursor; nothing of the log is read.
select
  c.projection,
  (select coalesce(sum(upper(hole) - lower(hole)), 0) from unnest(c.old_holes + c.young_holes) as hole)::bigint as holes
from ledger.cursors c
where c.generation = 'live'
order by c.projection
