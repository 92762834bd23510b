-- Leases the jobs that are still ready at the very version a dispatch message named, and reads what a worker needs.
--
--   leases        one JSON array of {job_id, version, nonce}, a version of a job at most once
--   first, last   the lowest and the highest of these jobs' ids
--   worker_id     who leases
--   lock_timeout  how long to wait for somebody's open transaction that holds one of these places
--
-- Returns every event of each job won up to its lease, in version order, with position and time of the lease beside it;
-- what else the lease holds, follows from them. What is not returned was leased by another,
-- cancelled, or never there, or its queue is paused, or it is past its `expires_at`: the scheduler cancels it. Served by
-- the primary key: the event that made a job ready is looked up once, and of most jobs it is all there is to read.
-- Commits asynchronously: a lease that a crash of Postgres takes away only means that the job is dispatched again, and the
-- nonce keeps the first holder's outcome out.
--
-- `first` and `last` keep the weeks in which none of these jobs was born out of all four look-ups: each week would be
-- opened in each, a third of what a lease of one job cost with ten weeks. The planner must not see them, or it would plan
-- anew for every lease; hence a condition on `now()`, which is known when the statement starts and not before.
with limits as materialized (
  select
    set_config('lock_timeout', %(lock_timeout)s, true) as set,
    set_config('synchronous_commit', 'off', true) as asynchronous
),
input as materialized (
  select r.*
  from limits, json_to_recordset(%(leases)s::json) as r (job_id uuid, version int, nonce text)
  where limits.set is not null and limits.asynchronous is not null
),
looked_up as materialized (
  select
    r.job_id, r.version, r.nonce, p.position, p.at, p.kind, p.queue, p.priority, p.actor, p.schema_version, p.data, p.body,
    p.meta,
    case when r.version = 1 then 0 else (
      select count(*)
      from ledger.events l
      where l.job_id = r.job_id and l.version < r.version and l.kind = 'leased'
        and l.job_id >= case when now() is not null then %(first)s::uuid end
        and l.job_id <= case when now() is not null then %(last)s::uuid end
    ) end as leases
  from input r
  cross join lateral (
    select e.*
    from ledger.events e
    where e.job_id = r.job_id and e.version = r.version
      and e.job_id >= case when now() is not null then %(first)s::uuid end
      and e.job_id <= case when now() is not null then %(last)s::uuid end
    offset 0  -- keeps the planner from joining the whole log instead of looking up one key a row
  ) as p
  where p.kind = 'enqueued'
    and p.queue <> all (array(select x.queue from ledger.pauses x))
    and (
      case when r.version = 1 then
        case when strpos(p.data::text, '"expires_at"') > 0 then p.data ->> 'expires_at' end  -- few have one: do not parse
      else (
        select f.data ->> 'expires_at'
        from ledger.events f
        where f.job_id = r.job_id and f.version = 1
          and f.job_id >= case when now() is not null then %(first)s::uuid end
          and f.job_id <= case when now() is not null then %(last)s::uuid end
      ) end::timestamptz > clock_timestamp()
    ) is not false
),
leased as (
  insert into ledger.events (job_id, version, kind, queue, priority, actor, data)
  select
    p.job_id, p.version + 1, 'leased', p.queue, p.priority, 'worker:' || %(worker_id)s::text,
    json_build_object(
      'worker_id', %(worker_id)s::text, 'attempt', p.leases + 1, 'nonce', p.nonce, 'ready_at', p.at
    )
  from looked_up p
  order by p.job_id
  on conflict (job_id, version) do nothing
  returning job_id, version, position, at
)
select
  p.job_id, p.version, p.position, p.at, p.kind::text, p.queue, p.priority, p.actor, p.schema_version, p.data::text,
  p.body::text, p.meta::text, l.position, l.at
from leased l
join looked_up p on p.job_id = l.job_id and p.version = l.version - 1
where l.version = 2
union all
select
  h.job_id, h.version, h.position, h.at, h.kind, h.queue, h.priority, h.actor, h.schema_version, h.data, h.body, h.meta,
  l.position, l.at
from leased l
cross join lateral (
  select e.job_id, e.version, e.position, e.at, e.kind::text, e.queue, e.priority, e.actor, e.schema_version,
         e.data::text, e.body::text, e.meta::text
  from ledger.events e
  where e.job_id = l.job_id and e.version < l.version
    and e.job_id >= case when now() is not null then %(first)s::uuid end
    and e.job_id <= case when now() is not null then %(last)s::uuid end
  offset 0
) as h
where l.version > 2
order by 1, 2
