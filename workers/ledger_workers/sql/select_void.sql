-- Which of these leases are void: the jobs that something happened to after their lease.
--
--   leases   one JSON array of {job_id, version}
--
-- One look-up by primary key a lease.
select l.job_id, l.version
from json_to_recordset(%(leases)s::json) as l (job_id uuid, version int)
where (select true from ledger.events e where e.job_id = l.job_id and e.version = l.version + 1)
