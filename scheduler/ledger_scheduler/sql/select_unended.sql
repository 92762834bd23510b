-- The latest jobs of these schedules that have not ended, as far as the read models know.
--
--   schedules   ids
--   limit       how many jobs of each are looked at, the newest first
--
-- Served by the index on (schedule_id, created_at, job_id) of births and the primary key of jobs.
select w.schedule_id, b.job_id
from unnest(%(schedules)s::uuid[]) as w (schedule_id)
cross join lateral (
  select r.job_id
  from ledger_read.job_births r
  where r.schedule_id = w.schedule_id
  order by r.created_at desc, r.job_id desc
  limit %(limit)s::bigint
) as b
join ledger_read.jobs j on j.job_id = b.job_id
where j.state in ('scheduled', 'ready', 'running', 'retrying')
