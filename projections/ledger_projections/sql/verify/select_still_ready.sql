-- Of these, the jobs that are ready at that very version at this moment.
--   wanted   one JSON array of {job_id, version}
-- Two look-ups by primary key a job.
select wanted.job_id, wanted.version
from json_to_recordset(%(wanted)s::json) as wanted (job_id uuid, version int)
where exists (
    select from ledger.events e
    where e.job_id = wanted.job_id and e.version = wanted.version and e.kind = 'enqueued'
  )
  and not exists (select from ledger.events e where e.job_id = wanted.job_id and e.version = wanted.version + 1)
