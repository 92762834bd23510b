-- Folds a batch into `attempts` and `attempt_minutes`: the runs that began in it, with their ends where the batch has those
-- too, and the ends of runs that had begun before it.
--   the batch, as `ledger.events_in` takes it
-- A run is opened by `leased`, and closed by the event right after it; when that is `failed`, the event after says whether
-- the job was given up with it. So of the earlier runs, only the first event that a job has in the batch can tell the end.
-- The lease says when the job had become ready; where it does not (it was written before leases did), and to tell the
-- kinds that do not only follow a lease, the event before is looked up by key. Rows go in by key.
with told as materialized (
  select p.*
  from (
    select
      e.job_id, e.version, e.kind, e.at, e.priority, e.queue, e.data,
      lag(e.at) over job as preceding_at,
      lead(e.kind) over job as next_kind,
      lead(e.at) over job as next_at,
      lead(e.data) over job as next_data,
      lead(e.kind, 2) over job as second_kind
    from ledger.events_in(
      %(born_from)s::uuid, %(born_to)s::uuid, %(low)s::bigint, %(high)s::bigint,
      %(late)s::bigint[], %(holes)s::int8multirange, %(parked)s::uuid[]
    ) as e
    window job as (partition by e.job_id order by e.version)
  ) as p
  where p.kind = 'leased'
    or (p.preceding_at is null and p.version > 1 and p.kind not in ('retried', 'discarded'))
),
runs as materialized (
  select
    t.job_id, t.version, t.at, t.priority, t.queue, t.next_kind, t.next_at, t.next_data, t.second_kind,
    lease.attempt, lease.worker_id,
    coalesce(
      t.preceding_at,
      lease.ready_at::timestamptz,
      (select e.at from ledger.events e where e.job_id = t.job_id and e.version = t.version - 1)
    ) as ready_at
  from told t
  cross join lateral json_to_record(t.data) as lease (attempt int, worker_id text, ready_at text)
  where t.kind = 'leased'
),
opened as (
  insert into attempts (
    job_id, lease_version, attempt, queue, priority, state, error_type, error_message, stack_trace, worker_id,
    created_at, started_at, completed_at, wait_ms, duration_ms
  )
  select
    r.job_id,
    r.version,
    r.attempt,
    r.queue,
    r.priority,
    case r.next_kind
      when 'succeeded' then 'succeeded'
      when 'failed' then case when r.second_kind = 'dead_lettered' then 'dead' else 'failed' end
      when 'scheduled' then 'snoozed'
      when 'dead_lettered' then 'crashed'
      when 'cancelled' then 'cancelled'
      when 'enqueued' then case when r.next_data ->> 'crash_count' is null then 'released' else 'crashed' end
      else 'running'
    end,
    case when r.next_kind = 'failed' then r.next_data ->> 'error_type' end,
    case when r.next_kind = 'failed' then r.next_data ->> 'error_message' end,
    case when r.next_kind = 'failed' then r.next_data ->> 'stack_trace' end,
    r.worker_id,
    r.ready_at,
    r.at,
    r.next_at,
    greatest(date_part('epoch', r.at - r.ready_at) * 1000, 0),
    case when r.next_kind in ('succeeded', 'failed') then (r.next_data ->> 'duration_ms')::float8 end
  from runs r
  order by r.job_id, r.version
  returning started_at, state, duration_ms
),
firsts as materialized (
  select
    t.job_id, t.version, t.kind, t.at, t.data, t.next_kind,
    case
      when t.kind in ('succeeded', 'failed', 'scheduled') then 'leased'
      else (select e.kind from ledger.events e where e.job_id = t.job_id and e.version = t.version - 1)
    end as preceding_kind
  from told t
  where t.kind <> 'leased'
),
ends as (
  select
    f.job_id,
    f.version - case f.preceding_kind when 'failed' then 2 else 1 end as lease_version,
    case f.preceding_kind when 'failed' then 'failed' else 'running' end as before,
    case f.kind
      when 'scheduled' then 'snoozed'
      when 'failed' then case when f.next_kind = 'dead_lettered' then 'dead' else 'failed' end
      when 'dead_lettered' then case f.preceding_kind when 'failed' then 'dead' else 'crashed' end
      when 'enqueued' then case when f.data ->> 'crash_count' is null then 'released' else 'crashed' end
      else f.kind::text
    end as state,
    case f.preceding_kind when 'leased' then f.at end as at,
    case when f.kind = 'failed' then f.data end as failure,
    case when f.kind in ('succeeded', 'failed') then (f.data ->> 'duration_ms')::float8 end as duration_ms
  from firsts f
  where f.preceding_kind in ('leased', 'failed')
),
closed as (
  update attempts a
  set state = e.state,
      completed_at = coalesce(e.at, a.completed_at),
      error_type = coalesce(e.failure ->> 'error_type', a.error_type),
      error_message = coalesce(e.failure ->> 'error_message', a.error_message),
      stack_trace = coalesce(e.failure ->> 'stack_trace', a.stack_trace),
      duration_ms = coalesce(e.duration_ms, a.duration_ms)
  from ends e
  where a.job_id = e.job_id and a.lease_version = e.lease_version
  returning a.started_at, a.state, e.before, e.duration_ms
),
changes as (
  select o.started_at, o.state, 1 as by, o.duration_ms from opened o
  union all
  select c.started_at, c.state, 1, c.duration_ms from closed c
  union all
  select c.started_at, c.before, -1, null from closed c
)
insert into attempt_minutes as m (
  minute, running, succeeded, failed, dead, snoozed, released, crashed, cancelled, measured, duration_us
)
select
  date_trunc('minute', c.started_at) as minute,
  coalesce(sum(c.by) filter (where c.state = 'running'), 0),
  coalesce(sum(c.by) filter (where c.state = 'succeeded'), 0),
  coalesce(sum(c.by) filter (where c.state = 'failed'), 0),
  coalesce(sum(c.by) filter (where c.state = 'dead'), 0),
  coalesce(sum(c.by) filter (where c.state = 'snoozed'), 0),
  coalesce(sum(c.by) filter (where c.state = 'released'), 0),
  coalesce(sum(c.by) filter (where c.state = 'crashed'), 0),
  coalesce(sum(c.by) filter (where c.state = 'cancelled'), 0),
  count(c.duration_ms),
  coalesce(sum(round(c.duration_ms * 1000)), 0)
from changes c
group by 1
having date_trunc('minute', c.started_at) >= (select ledger.counted_from())
order by 1
on conflict (minute) do update
set running = m.running + excluded.running,
    succeeded = m.succeeded + excluded.succeeded,
    failed = m.failed + excluded.failed,
    dead = m.dead + excluded.dead,
    snoozed = m.snoozed + excluded.snoozed,
    released = m.released + excluded.released,
    crashed = m.crashed + excluded.crashed,
    cancelled = m.cancelled + excluded.cancelled,
    measured = m.measured + excluded.measured,
    duration_us = m.duration_us + excluded.duration_us
