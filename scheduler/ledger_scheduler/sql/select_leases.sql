-- The jobs one worker is running, by the read model; a page of them, by id.
--
--   worker_id
--   after_id    where the page before this one ended
--   limit
--
-- Served by the partial index on (worker_id, job_id) of running jobs.
select j.job_id
from ledger_read.jobs j
where j.state = 'running' and j.worker_id = %(worker_id)s::text and j.job_id > %(after_id)s::uuid
order by j.job_id
limit %(limit)s::bigint
