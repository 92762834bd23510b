-- What there is to dispatch, read in one statement and so in one snapshot.
--
--   high   the cursor's; what lies above it is read in order, at most `limit` events
--   holes  the cursor's open holes, as an int8multirange; what has appeared in them is read as well
--   blind  whether to look at positions only, past an event whose data cannot be read
--
-- Returns at least one row. Each says what was seen: the snapshot's xmin, how many events above `high`, the last of them,
-- the gaps between them, the holes that were filled, and which event was the newest of those whose commit waited for the
-- disk (a crash may take a lease away). Each but an only one is also a job to dispatch: an event that made it ready, and
-- is its latest; a job that has moved on meanwhile needs no message. Served by the index on position and by the primary
-- key.
with above as materialized (
  select e.position, e.at, e.job_id, e.version, e.kind, e.queue, e.priority, case when e.kind = 'enqueued' then e.data end as data
  from ledger.events e
  where e.position > %(high)s::bigint
  order by e.position
  limit %(limit)s::bigint
),
late as materialized (
  select e.position, e.job_id, e.version, e.kind, e.queue, e.priority, e.data
  from unnest(%(holes)s::int8multirange) as hole
  cross join lateral (
    select h.position, h.job_id, h.version, h.kind, h.queue, h.priority, h.data
    from ledger.events h
    where h.position >= lower(hole) and h.position < upper(hole)
    offset 0  -- a look-up by index for each hole, never a join over the log
  ) as e
),
extent as materialized (
  select count(*) as count, coalesce(max(a.position), %(high)s::bigint) as high from above a
),
seen as materialized (
  select
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint as xmin,
    x.count,
    x.high,
    (
      select range_agg(int8range(s.previous + 1, s.position)) filter (where s.position > s.previous + 1)
      from (
        select a.position, lag(a.position, 1, %(high)s::bigint) over (order by a.position) as previous from above a
      ) as s
      where x.high - %(high)s::bigint > x.count  -- else there are none, as nearly always
    ) as gaps,
    (select array_agg(l.position order by l.position) from late l) as late,
    (
      select a.job_id || ':' || a.version || ':' || (extract(epoch from a.at) * 1000000)::bigint
      from above a
      where a.kind <> 'leased'
      order by a.position desc
      limit 1
    ) as newest
  from extent x
),
ready as (
  select e.position, e.queue, e.priority, e.job_id, e.version, m.attempt, m.type
  from (
    select a.position, a.job_id, a.version, a.kind, a.queue, a.priority, a.data from above a where a.kind = 'enqueued' and not %(blind)s
    union all
    select l.* from late l where l.kind = 'enqueued' and not %(blind)s
  ) as e
  cross join lateral (
    select
      case when e.version = 1 then e.data ->> 'type' else (
        select f.data ->> 'type' from ledger.events f where f.job_id = e.job_id and f.version = 1
      ) end as type,
      case when e.version = 1 then 1 else (
        select count(*) + 1 from ledger.events l
        where l.job_id = e.job_id and l.version < e.version and l.kind = 'leased'
      ) end as attempt
    -- Not `not exists`, which the planner may answer by hashing the whole log.
    where (select n.version from ledger.events n where n.job_id = e.job_id and n.version = e.version + 1) is null
  ) as m
)
select s.xmin, s.count, s.high, s.gaps, s.late, s.newest, r.queue, r.priority, r.job_id, r.version, r.attempt, r.type
from seen s
left join ready r on true
order by r.position
