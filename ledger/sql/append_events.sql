-- Appends events to many jobs; each job's share is taken whole or not at all, and a share that loses harms no other.
--
--   rows          one JSON array of objects, at most one share a job; a share is one head (follows = false) and the
--                 events that come after it. A head says which event it follows: its version less one, of kind
--                 `after_kind`, and for a lease's outcome with that lease's `nonce`.
--   first, last   the lowest and the highest of these jobs' ids
--   lock_timeout  how long to wait for somebody's open transaction that holds one of these places; null leaves it be
--
-- Returns job, position and time of each event that was taken, a share's in their order; the others met a taken version, or
-- their predecessor is not there. The primary key (job_id, version) decides between writers and serves the look-up of predecessors.
-- Rows go in sorted by job_id: two batches in opposite orders would wait for each other. `first` and `last` keep the weeks
-- in which none of these jobs is out of the look-up, hidden from the planner as in `lease_jobs`.
with limits as materialized (
  select set_config('lock_timeout', coalesce(%(lock_timeout)s, current_setting('lock_timeout')), true) as set
),
input as materialized (
  select r.*
  from limits, json_to_recordset(%(rows)s::json) as r (
    follows boolean, job_id uuid, version int, kind ledger.event_kind, queue text, priority smallint,
    actor text, data json, body json, meta json, after_kind ledger.event_kind, nonce text
  )
  where limits.set is not null
),
heads as (
  insert into ledger.events (job_id, version, kind, queue, priority, actor, data, body, meta)
  select r.job_id, r.version, r.kind, r.queue, r.priority, r.actor, r.data, r.body, r.meta
  from input r
  where not r.follows
    and (
      r.version = 1
      -- A scalar subquery on purpose: it is looked up by key a row at a time, and never turned into a join over the log.
      or (
        select p.kind = r.after_kind and (r.nonce is null or p.data ->> 'nonce' = r.nonce)
        from ledger.events p
        where p.job_id = r.job_id and p.version = r.version - 1
          and p.job_id >= case when now() is not null then %(first)s::uuid end
          and p.job_id <= case when now() is not null then %(last)s::uuid end
      )
    )
  order by r.job_id
  on conflict (job_id, version) do nothing
  returning job_id, position, at
),
followers as (
  insert into ledger.events (job_id, version, kind, queue, priority, actor, data, body, meta)
  select r.job_id, r.version, r.kind, r.queue, r.priority, r.actor, r.data, r.body, r.meta
  from heads
  join input r on r.job_id = heads.job_id and r.follows
  order by r.job_id, r.version
  returning job_id, position, at
)
select job_id, position, at from heads
union all
select job_id, position, at from followers
