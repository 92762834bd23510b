-- Parks the job of one event and returns its id; no row if there is no such event.
--   projection   as the generation parks
--   position     of the event, served by the partitions' indexes on position
--   error        why it could not be folded
insert into ledger.parked as p (projection, job_id, position, error)
select %(projection)s, e.job_id, e.position, %(error)s
from ledger.events e
where e.position = %(position)s
on conflict (projection, job_id) do update
set position = least(p.position, excluded.position)
returning job_id
