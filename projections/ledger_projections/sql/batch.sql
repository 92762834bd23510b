-- The batch that a turn has read, as the first of a statement's common table expressions; folds are the others.
--   the batch, as `ledger.events_in` takes it
-- Each event with its neighbours in the job's life, in the order of job and version, so that no fold has to look for them
-- again, and with what more than one fold reads out of its JSON. What is said of the event before it, is known from the
-- batch, or by the rules, or looked up by key.
--   is_first         nothing of the job comes before it in the batch
--   preceding_kind   null for the first event of a job
--   next_data        only of what says how a run ended: `failed`, `enqueued`
--   ready_at         of a lease whose event before is not in the batch: when the job had become ready, as text in ISO 8601
with batch as materialized (
  select
    w.position, w.job_id, w.version, w.kind, w.at, w.priority, w.queue, w.data, w.meta, w.duration_ms,
    w.preceding_at, w.next_kind, w.next_at, w.next_data, w.next_duration_ms, w.second_kind,
    w.preceding_at is null as is_first,
    case
      when w.version = 1 then null
      when w.known_kind is not null then w.known_kind
      when w.kind in ('succeeded', 'failed', 'scheduled') then 'leased'
      when w.kind = 'leased' then 'enqueued'
      when w.kind = 'discarded' then 'dead_lettered'
      else (select e.kind from ledger.events e where e.job_id = w.job_id and e.version = w.version - 1)
    end as preceding_kind,
    case when w.kind = 'leased' then w.data ->> 'attempt' end as attempt,
    case when w.kind = 'leased' then w.data ->> 'worker_id' end as worker_id,
    case
      when w.kind = 'leased' and w.preceding_at is null then coalesce(
        w.data ->> 'ready_at',
        -- Written before leases said it.
        (select to_json(e.at) #>> '{}' from ledger.events e where e.job_id = w.job_id and e.version = w.version - 1)
      )
    end as ready_at
  from (
    select
      e.*,
      lag(e.kind) over job as known_kind,
      lag(e.at) over job as preceding_at,
      lead(e.kind) over job as next_kind,
      lead(e.at) over job as next_at,
      lead(e.ending) over job as next_data,
      lead(e.duration_ms) over job as next_duration_ms,
      lead(e.kind, 2) over job as second_kind
    from (
      select
        b.position, b.job_id, b.version, b.kind, b.at, b.priority, b.queue, b.data, b.meta,
        case when b.kind = 'failed' or (b.kind = 'enqueued' and b.version > 1) then b.data end as ending,
        case when b.kind in ('succeeded', 'failed') then b.data ->> 'duration_ms' end as duration_ms
      from ledger.events_in(
        %(born_from)s::uuid, %(born_to)s::uuid, %(low)s::bigint, %(high)s::bigint,
        %(late)s::bigint[], %(holes)s::int8multirange, %(parked)s::uuid[]
      ) as b
    ) as e
    window job as (partition by e.job_id order by e.version)
  ) as w
  order by w.job_id, w.version  -- as they are: said so that the planner knows, and no fold sorts them again
)
