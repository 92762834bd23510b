-- Keeps what handlers have said, for many runs at once, and of each run the first 100 notes and the last 100.
--
--   notes   one JSON array of {job_id, lease_version, number, age, progress, message}; age in seconds
--
-- Times are this database's. Served by the primary key; rows go in by its order. Commits asynchronously: a note that a
-- crash of Postgres takes away is no loss to the job.
with limits as materialized (
  select set_config('synchronous_commit', 'off', true) as asynchronous
),
input as materialized (
  select n.*
  from limits, json_to_recordset(%(notes)s::json) as n (
    job_id uuid, lease_version int, number int, age double precision, progress real, message text
  )
  where limits.asynchronous is not null
),
written as (
  insert into ledger.notes (job_id, lease_version, number, at, progress, message)
  select i.job_id, i.lease_version, i.number, clock_timestamp() - make_interval(secs => i.age), i.progress, i.message
  from input i
  order by i.job_id, i.lease_version, i.number
  on conflict (job_id, lease_version, number) do nothing
)
delete from ledger.notes n
using (select i.job_id, i.lease_version, max(i.number) as last from input i group by i.job_id, i.lease_version) as said
where n.job_id = said.job_id and n.lease_version = said.lease_version
  and n.number > 100 and n.number <= said.last - 100
