-- What there is to dispatch, read in one statement and so in one snapshot.
--
--   high   the cursor's; what lies above it is read in order, at most `limit` events
--   holes  the cursor's open holes, as an int8multirange; what has appeared in them is read as well
--   blind  whether to look at positions only, past an event whose data cannot be read
--
-- Returns at least one row, all with the snapshot's xmin; a row without position means that nothing was found. Where the
-- event made a job ready and is that job's latest, the row also says what its message holds; a job that has moved on
-- meanwhile needs none. Served by the index on position and by the primary key.
with found as (
  (
    select e.position, e.job_id, e.version, e.kind, e.queue, e.priority, e.data
    from ledger.events e
    where e.position > %(high)s::bigint
    order by e.position
    limit %(limit)s::bigint
  )
  union all
  select e.position, e.job_id, e.version, e.kind, e.queue, e.priority, e.data
  from unnest(%(holes)s::int8multirange) as hole
  cross join lateral (
    select h.position, h.job_id, h.version, h.kind, h.queue, h.priority, h.data
    from ledger.events h
    where h.position >= lower(hole) and h.position < upper(hole)
    offset 0  -- a look-up by index for each hole, never a join over the log
  ) as e
)
select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as xmin,
       f.position, f.queue, f.priority, f.job_id, f.version, m.attempt, m.type
from (select) as always
left join found f on true
left join lateral (
  select
    -- Said again: the planner may work this out before it has looked at the condition below.
    case when f.kind <> 'enqueued' or %(blind)s then null when f.version = 1 then f.data ->> 'type' else (
      select e.data ->> 'type' from ledger.events e where e.job_id = f.job_id and e.version = 1
    ) end as type,
    case when f.version = 1 then 1 else (
      select count(*) + 1 from ledger.events e
      where e.job_id = f.job_id and e.version < f.version and e.kind = 'leased'
    ) end as attempt
  where f.kind = 'enqueued' and not %(blind)s
    -- Not `not exists`, which the planner may answer by hashing the whole log.
    and (select e.version from ledger.events e where e.job_id = f.job_id and e.version = f.version + 1) is null
) as m on true
order by f.position
