-- Folds a batch into `attempts` and `attempt_minutes`: the runs that began in it, with their ends where the batch has those
-- too, and the ends of runs that had begun before it.
-- A run is opened by `leased`, and closed by the event right after it; when that is `failed`, the event after says whether
-- the job was given up with it. So of the earlier runs, only the first event that a job has in the batch can tell the end.
-- Rows go in by key, those of plain jobs last.
attempts_opened as (
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
      when 'enqueued' then case when r.next_ending::json ->> 'crash_count' is null then 'released' else 'crashed' end
      else 'running'
    end,
    case when r.next_kind = 'failed' then r.next_ending::json ->> 'error_type' end,
    case when r.next_kind = 'failed' then r.next_ending::json ->> 'error_message' end,
    case when r.next_kind = 'failed' then r.next_ending::json ->> 'stack_trace' end,
    r.worker_id,
    r.became_ready_at,
    r.at,
    r.next_at,
    greatest(date_part('epoch', r.at - r.became_ready_at) * 1000, 0),
    case r.next_kind when 'succeeded' then r.next_ending when 'failed' then r.next_ending::json ->> 'duration_ms' end::float8
  from eventful r
  where r.kind = 'leased'
  union all
  select
    l.job_id,
    l.version - (l.succeeded_at is not null)::int,
    l.attempt,
    l.queue,
    l.priority,
    case when l.succeeded_at is null then 'running' else 'succeeded' end,
    null, null, null,
    l.worker_id,
    l.became_ready_at,
    l.leased_at,
    l.succeeded_at,
    greatest(date_part('epoch', l.leased_at - l.became_ready_at) * 1000, 0),
    l.duration_ms
  from lives l
  where l.is_plain and l.leased_at is not null
  returning started_at, state, duration_ms
),
attempts_ends as (
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
    f.duration_ms
  from eventful f
  where f.is_first and f.kind not in ('leased', 'retried', 'discarded') and f.preceding_kind in ('leased', 'failed')
  union all
  select l.job_id, l.version - 1, 'running', 'succeeded', l.succeeded_at, null, l.duration_ms
  from lives l
  where l.is_plain and l.leased_at is null and l.succeeded_at is not null
),
attempts_closed as (
  update attempts a
  set state = e.state,
      completed_at = coalesce(e.at, a.completed_at),
      error_type = coalesce(e.failure ->> 'error_type', a.error_type),
      error_message = coalesce(e.failure ->> 'error_message', a.error_message),
      stack_trace = coalesce(e.failure ->> 'stack_trace', a.stack_trace),
      duration_ms = coalesce(e.duration_ms, a.duration_ms)
  from attempts_ends e
  where a.job_id = e.job_id and a.lease_version = e.lease_version
  returning a.started_at, a.state, e.before, e.duration_ms
),
attempts_changes as (
  select o.started_at, o.state, 1 as by, o.duration_ms from attempts_opened o
  union all
  select c.started_at, c.state, 1, c.duration_ms from attempts_closed c
  union all
  select c.started_at, c.before, -1, null from attempts_closed c
),
attempts_counted as (
  insert into attempt_minutes as m (
    minute, running, succeeded, failed, dead, snoozed, released, crashed, cancelled, measured, duration_us
  )
  select
    date_bin('1 minute', c.started_at, 'epoch') as minute,
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
  from attempts_changes c
  group by 1
  having date_bin('1 minute', c.started_at, 'epoch') >= (select ledger.counted_from())
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
)
