-- The jobs that some projection generations have parked.
--   projections   as the generations park
select p.projection, p.job_id
from ledger.parked p
where p.projection = any (%(projections)s)
order by p.projection, p.job_id
