-- The jobs that a projection generation has parked.
--   projection   as the generation parks
select job_id from ledger.parked where projection = %(projection)s order by job_id
