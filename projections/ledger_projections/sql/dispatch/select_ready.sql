-- Every ready job, in the order of its stream. Read through a server-side cursor, inside the transaction that also takes
-- over the cursor of the projection `jobs`, so that the two belong to one snapshot. Served by the index of ready jobs
-- (queue, priority, ready_at); what the log has moved on from is left out by its primary key.
select j.queue, j.priority, j.job_id, j.version, j.attempt + 1 as attempt, j.type
from ledger_read.jobs j
where j.state = 'ready'
  and (select e.version from ledger.events e where e.job_id = j.job_id and e.version = j.version + 1) is null
order by j.queue, j.priority, j.ready_at, j.job_id
