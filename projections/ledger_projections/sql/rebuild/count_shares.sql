-- How many shares of some rebuilds there are, how many of them are done, and the events in all of them.
--   projections
select count(*) as shares, count(*) filter (where s.done) as done,
       coalesce(sum(s.folded), 0)::bigint as folded, coalesce(sum(s.total), 0)::bigint as total
from ledger.rebuild_shares s
where s.projection = any (%(projections)s)
