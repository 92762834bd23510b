-- Makes a share of each partition that holds something to fold.
--   projection
--   high, holes   what there is to fold: every position up to `high` but for the holes; a set that never changes again
-- Counting visits every partition's index once.
insert into ledger.rebuild_shares (projection, partition, born_from, born_to, total)
select %(projection)s, p.relname, bound.parts[1]::uuid, bound.parts[2]::uuid, counted.total
from pg_inherits i
join pg_class p on p.oid = i.inhrelid
cross join lateral (
  select regexp_match(pg_get_expr(p.relpartbound, p.oid), 'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)') as parts
) as bound
join (
  select e.tableoid, count(*) as total
  from ledger.events e
  where e.position <= %(high)s and not e.position <@ %(holes)s::int8multirange
  group by e.tableoid
) as counted on counted.tableoid = p.oid
where i.inhparent = 'ledger.events'::regclass
