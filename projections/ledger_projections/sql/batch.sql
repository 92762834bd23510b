-- The batch that a turn has read, as the first of a statement's common table expressions; folds are the others.
--   the batch, as `ledger.events_in` takes it
-- Each event with its neighbours in the job's life, in the order of job and version, so that no fold has to look for them
-- again, and with what more than one fold reads out of its JSON. What is said of the event before it, is known from the
-- batch, or by the rules, or looked up by key. Each column is written once an event and each JSON read from end to end, so
-- there is none that no fold wants.
--   data             but for `leased` and `succeeded`, of which all that counts is in other columns
--   is_first         nothing of the job comes before it in the batch
--   preceding_kind   null for the first event of a job
--   became_ready_at  of a lease: when the job had
--   next_ending      of the event after it, what says how a run ended: the duration of `succeeded`, the data of `failed` and
--                    `enqueued`
with batch as materialized (
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
      case w.version when 2 then 1 else (w.data ->> 'attempt')::int end  -- nothing was run before a job's second event
    end as attempt,
    case when w.kind = 'leased' then
      case when starts_with(w.actor, 'worker:') then substr(w.actor, 8) else w.data ->> 'worker_id' end
    end as worker_id,
    case when w.kind = 'leased' then coalesce(
      w.preceding_at,
      (w.data ->> 'ready_at')::timestamptz,
      -- Written before leases said it.
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
      from ledger.events_in(
        %(born_from)s::uuid, %(born_to)s::uuid, %(low)s::bigint, %(high)s::bigint,
        %(late)s::bigint[], %(holes)s::int8multirange, %(parked)s::uuid[]
      ) as b
    ) as e
    window job as (partition by e.job_id order by e.version)
  ) as w
  order by w.job_id, w.version  -- as they are: said so that the planner knows, and no fold sorts them again
)
