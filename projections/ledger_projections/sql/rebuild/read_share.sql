-- Finds where the next batch of a share ends: whole lives, about as many as have so many events.
--   born_from, born_to   of the jobs that are left; the second is not in the range
--   limit                how many events, more or less
-- Returns the last of these jobs; no row where what is left is no more than that. The partition's key alone serves it.
select e.job_id
from ledger.events e
where e.job_id >= %(born_from)s and e.job_id < %(born_to)s
order by e.job_id
offset %(limit)s
limit 1
