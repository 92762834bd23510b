-- Of these, the jobs that were never made ready at that version.
--   wanted   one JSON array of {job_id, version}
-- One look-up by primary key a job.
select wanted.job_id, wanted.version
from json_to_recordset(%(wanted)s::json) as wanted (job_id uuid, version int)
where not exists (
  select from ledger.events e
  where e.job_id = wanted.job_id and e.version = wanted.version and e.kind = 'enqueued'
)
