-- Moves schedules on past the ticks that were decided, in the transaction that appends their jobs; returns the ids of
-- those that still were as they were read.
--
--   rows   a JSON array of {id, version, last_run_at, last_run_status, last_job_id, next_run_at}
--
-- The compare-and-set on the version decides between schedulers, and against whoever changes a schedule at this moment.
-- A row in somebody's hands is left alone, and rows are locked by id, so nobody waits here. Primary key.
with decided as materialized (
  select r.*
  from json_to_recordset(%(rows)s::json) as r (
    id uuid, version int, last_run_at timestamptz, last_run_status text, last_job_id uuid, next_run_at timestamptz
  )
),
held as materialized (
  select s.id
  from ledger.schedules s
  join decided d on d.id = s.id and d.version = s.version
  order by s.id
  for update of s skip locked
)
update ledger.schedules s
set version = s.version + 1, updated_at = clock_timestamp(), last_run_at = d.last_run_at,
  last_run_status = d.last_run_status, last_job_id = coalesce(d.last_job_id, s.last_job_id),
  next_run_at = d.next_run_at
from decided d
join held h on h.id = d.id
where s.id = d.id
returning s.id
