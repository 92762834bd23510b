-- Every event, job by job in version order, with whether each of two projections has read it. Payloads are left out.
--   jobs_high, jobs_holes, dead_high, dead_holes   how far `jobs` and `dead_letters` have read
-- The columns are those of the log's own `select_histories`, and two more. Read through a server-side cursor in the order
-- of the primary key, partition by partition.
select e.job_id, e.version, e.position, e.at, e.kind::text, e.queue, e.priority, e.actor, e.schema_version,
       e.data::text, null::text as body, e.meta::text,
       e.position <= %(jobs_high)s and not e.position <@ %(jobs_holes)s::int8multirange as in_jobs,
       e.position <= %(dead_high)s and not e.position <@ %(dead_holes)s::int8multirange as in_dead_letters
from ledger.events e
order by e.job_id, e.version
