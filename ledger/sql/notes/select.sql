-- What the handlers of one job have said, run by run, in order.
--
--   job_id
--
-- Served by the primary key of the notes, and one look-up by primary key in the log a row.
select n.lease_version, (e.data ->> 'attempt')::int as attempt, n.number, n.at, n.progress, n.message
from ledger.notes n
left join ledger.events e on e.job_id = n.job_id and e.version = n.lease_version and e.kind = 'leased'
where n.job_id = %(job_id)s
order by n.lease_version, n.number
