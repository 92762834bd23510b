-- How many jobs of a run are in each state, by queue, as the read model knows it now.
-- Parameters: run text, the correlation id of its jobs. Index: the one on correlation_id.
select queue, state, count(*) as jobs, coalesce(sum(crash_count), 0) as crashes, coalesce(sum(retry_count), 0) as retries
from ledger_read.jobs
where correlation_id = %(run)s
group by queue, state
