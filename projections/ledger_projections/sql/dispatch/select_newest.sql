-- The newest event below the dispatch cursor whose commit waited for the disk, as `read` names it; none in an empty log.
-- Called by a refill, which passes over what is below without reading it. Served by the index on position.
select e.job_id || ':' || e.version || ':' || (extract(epoch from e.at) * 1000000)::bigint
from ledger.events e
where e.position <= (select c.high from ledger.cursors c where c.projection = 'dispatch' and c.generation = 'live')
  and e.kind <> 'leased'
order by e.position desc
limit 1
