-- Folds a batch into `dead_letters`: a job that is dead at its end gets a row, one that was and is no longer loses it.
-- No plain life has a death in it. Deaths are few and their rows want much of the job's life, so that is read from the log,
-- by key: all of it up to the death is in this snapshot. Rows go in by job_id.
dead_letters_latest as materialized (
  select distinct on (e.job_id) e.job_id, e.version, e.kind, e.at, e.priority, e.queue, e.data
  from eventful e
  where e.kind in ('dead_lettered', 'retried', 'discarded')
  order by e.job_id, e.version desc
),
dead_letters_revived as (
  delete from dead_letters
  where job_id = any (array(select l.job_id from dead_letters_latest l where l.kind <> 'dead_lettered'))
),
dead_letters_dead as (
  insert into dead_letters as d (
    job_id, version, type, queue, priority, reason, error_type, error_message, stack_trace, attempt, retry_count,
    max_retries, crash_count, original_created_at, failed_at, requeued_at, requeue_count
  )
  select
    l.job_id, l.version, life.type, l.queue, l.priority, l.data ->> 'reason',
    life.failure ->> 'error_type', life.failure ->> 'error_message', life.failure ->> 'stack_trace',
    coalesce(life.attempt, 0), (l.data ->> 'retry_count')::int, life.max_retries, (l.data ->> 'crash_count')::int,
    life.created_at, l.at, life.requeued_at, coalesce(life.requeue_count, 0)
  from dead_letters_latest l
  cross join lateral (
    select
      max(h.data ->> 'type') filter (where h.version = 1) as type,
      max((h.data ->> 'max_retries')::int) filter (where h.version = 1) as max_retries,
      max(h.at) filter (where h.version = 1) as created_at,
      max((h.data ->> 'attempt')::int) filter (where h.kind = 'leased') as attempt,
      (array_agg(h.data order by h.version desc) filter (where h.kind = 'failed'))[1] as failure,
      max((h.data ->> 'requeue_count')::int) filter (where h.kind = 'retried') as requeue_count,
      (array_agg(h.at order by h.version desc)
        filter (where h.kind = 'retried' and h.data ->> 'requeue_count' is not null))[1] as requeued_at
    from ledger.events h
    where h.job_id = l.job_id and h.version <= l.version
  ) as life
  where l.kind = 'dead_lettered'
  order by l.job_id
  on conflict (job_id) do update
  set version = excluded.version,
      reason = excluded.reason,
      error_type = excluded.error_type,
      error_message = excluded.error_message,
      stack_trace = excluded.stack_trace,
      attempt = excluded.attempt,
      retry_count = excluded.retry_count,
      crash_count = excluded.crash_count,
      failed_at = excluded.failed_at,
      requeued_at = excluded.requeued_at,
      requeue_count = excluded.requeue_count
)
