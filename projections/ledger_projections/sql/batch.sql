-- The batch that a turn has read, as the first of a statement's common table expressions; folds are the others.
--   the batch, as `ledger.events_in` takes it
-- `batch` is the events themselves. What nothing reads is not worked out, and what nothing was found for is not looked for.
with batch as not materialized (
  select b.position, b.at, b.job_id, b.version, b.kind, b.priority, b.queue, b.actor, b.data, b.meta
  from ledger.events_in(
    %(born_from)s::uuid, %(born_to)s::uuid, %(low)s::bigint, %(high)s::bigint,
    %(late)s::bigint[], %(holes)s::int8multirange, %(parked)s::uuid[]
  ) as b
),
-- A row a job of the batch. Nearly all are plain: made ready as they were made, leased, succeeded, or as much of that as the
-- batch has, each of it once. All that their events say is in this row, so folds need not go through the events themselves,
-- with their neighbours, which costs several times as much. A fold takes the plain from here and the others from `eventful`.
-- A request so long that it lies apart from its row, from about 2,000 bytes on, is not carried along here, and its job is
-- not plain.
--   is_plain         else only `job_id` counts
--   version          of its last event in the batch
--   opened_at        of its first event, which also has `request` and `correlation_id`
--   leased_at, worker_id, attempt, became_ready_at   of the lease; the last: when the job had become ready for it
--   succeeded_at, duration_ms   of the success
-- What is not in the batch is null.
lives as materialized (
  select
    l.job_id, l.is_plain, l.version, l.queue, l.priority,
    l.opened_at, l.request, l.correlation_id,
    l.leased_at,
    case
      when starts_with(l.leased_by, 'worker:') then substr(l.leased_by, 8) else l.lease ->> 'worker_id'
    end as worker_id,
    case
      when not l.is_plain or l.leased_at is null then null
      when l.version - (l.succeeded_at is not null)::int = 2 then 1  -- nothing was run before a job's second event
      else (l.lease ->> 'attempt')::int
    end as attempt,
    case when l.is_plain and l.leased_at is not null then coalesce(
      l.opened_at,
      (l.lease ->> 'ready_at')::timestamptz,
      -- Written before leases said it.
      (
        select e.at
        from ledger.events e
        where e.job_id = l.job_id and e.version = l.version - (l.succeeded_at is not null)::int - 1
      )
    ) end as became_ready_at,
    l.succeeded_at, l.duration_ms
  from (
    select
      e.job_id,
      bool_and(
        case e.kind
          when 'leased' then true
          when 'succeeded' then true
          when 'enqueued' then e.version = 1 and pg_column_size(e.data) < 2000
          else false
        end
      ) as is_plain,
      max(e.version) as version,
      max(e.queue) as queue,
      max(e.priority) as priority,
      max(e.at) filter (where e.version = 1) as opened_at,
      (array_agg(e.data) filter (where e.version = 1 and pg_column_size(e.data) < 2000))[1] as request,
      max(e.meta ->> 'correlation_id') filter (where e.version = 1) as correlation_id,
      max(e.at) filter (where e.kind = 'leased') as leased_at,
      max(e.actor) filter (where e.kind = 'leased') as leased_by,
      (array_agg(e.data) filter (where e.kind = 'leased'))[1] as lease,
      max(e.at) filter (where e.kind = 'succeeded') as succeeded_at,
      max((e.data ->> 'duration_ms')::float8) filter (where e.kind = 'succeeded') as duration_ms
    from batch e
    group by e.job_id
  ) as l
  order by l.job_id
),
-- Each event of the jobs that are not plain, with its neighbours in the job's life, in the order of job and version, so that
-- no fold has to look for them again, and with what more than one fold reads out of its JSON. What is said of the event
-- before it, is known from the batch, or by the rules, or looked up by key. Each column is written once an event and each
-- JSON read from end to end, so there is none that no fold wants.
--   data             but for `leased` and `succeeded`, of which all that counts is in other columns
--   is_first         nothing of the job comes before it in the batch
--   preceding_kind   null for the first event of a job
--   became_ready_at  of a lease: when the job had
--   next_ending      of the event after it, what says how a run ended: the duration of `succeeded`, the data of `failed` and
--                    `enqueued`
eventful as materialized (
  select
    w.position, w.job_id, w.version, w.kind, w.at, w.priority, w.queue, w.correlation_id,
    case when w.kind not in ('leased', 'succeeded') then w.data end as data,
    w.next_kind, w.next_at, w.next_ending, w.second_kind,
    w.preceding_at is null as is_first,
    case
      when w.version = 1 then null
      when w.known_kind is not null then w.known_kind
      when w.kind in ('succeeded', 'failed', 'scheduled') then 'leased'
      when w.kind = 'leased' then 'enqueued'
      when w.kind = 'discarded' then 'dead_lettered'
      else (select e.kind from ledger.events e where e.job_id = w.job_id and e.version = w.version - 1)
    end as preceding_kind,
    case w.kind when 'succeeded' then w.ending when 'failed' then w.data ->> 'duration_ms' end::float8 as duration_ms,
    case when w.kind = 'leased' then
      case w.version when 2 then 1 else (w.data ->> 'attempt')::int end
    end as attempt,
    case when w.kind = 'leased' then
      case when starts_with(w.actor, 'worker:') then substr(w.actor, 8) else w.data ->> 'worker_id' end
    end as worker_id,
    case when w.kind = 'leased' then coalesce(
      w.preceding_at,
      (w.data ->> 'ready_at')::timestamptz,
      (select e.at from ledger.events e where e.job_id = w.job_id and e.version = w.version - 1)
    ) end as became_ready_at
  from (
    select
      e.*,
      lag(e.kind) over job as known_kind,
      lag(e.at) over job as preceding_at,
      lead(e.kind) over job as next_kind,
      lead(e.at) over job as next_at,
      lead(e.ending) over job as next_ending,
      lead(e.kind, 2) over job as second_kind
    from (
      select
        b.position, b.job_id, b.version, b.kind, b.at, b.priority, b.queue, b.actor, b.data,
        case when b.version = 1 then b.meta ->> 'correlation_id' end as correlation_id,
        case
          when b.kind = 'succeeded' then b.data ->> 'duration_ms'
          when b.kind = 'failed' or (b.kind = 'enqueued' and b.version > 1) then b.data::text
        end as ending
      from batch b
      where exists (select from lives l where not l.is_plain)  -- else the events are not read again
        -- `is true` makes it a set to look in for each event: no join, which is not known to be small.
        and (b.job_id in (select l.job_id from lives l where not l.is_plain)) is true
    ) as e
    window job as (partition by e.job_id order by e.version)
  ) as w
  order by w.job_id, w.version  -- as they are: said so that the planner knows, and no fold sorts them again
)
