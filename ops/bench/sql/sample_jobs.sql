-- Picks jobs from all over the log: about so many percent of its pages are looked at.
select e.job_id
from ledger.events e tablesample system (%(percent)s::float8)
where e.version = 1
order by random()
limit %(jobs)s
