-- The system at a glance: attempts started in the last 24 hours by state, and the jobs' counts now.
-- Nothing is counted: `attempts` keeps counts by the minute, of which there are 1,440 in a day, `queue_stats` those of jobs.
select
  a.total, a.succeeded, a.failed, a.dead, a.snoozed, a.released, a.crashed, a.cancelled, a.running,
  a.avg_duration_ms, j.jobs_scheduled, j.jobs_ready, j.jobs_running, j.jobs_retrying, j.jobs_dead
from (
  select
    coalesce(sum(m.running + m.succeeded + m.failed + m.dead + m.snoozed + m.released + m.crashed + m.cancelled), 0)::bigint
      as total,
    coalesce(sum(m.succeeded), 0)::bigint as succeeded,
    coalesce(sum(m.failed), 0)::bigint as failed,
    coalesce(sum(m.dead), 0)::bigint as dead,
    coalesce(sum(m.snoozed), 0)::bigint as snoozed,
    coalesce(sum(m.released), 0)::bigint as released,
    coalesce(sum(m.crashed), 0)::bigint as crashed,
    coalesce(sum(m.cancelled), 0)::bigint as cancelled,
    coalesce(sum(m.running), 0)::bigint as running,
    coalesce(sum(m.duration_us)::float8 / nullif(sum(m.measured), 0) / 1000, 0)::float8 as avg_duration_ms
  from ledger_read.attempt_minutes m
  where m.minute > statement_timestamp() - interval '24 hours'
) as a
cross join (
  select
    coalesce(sum(q.count) filter (where q.state = 'scheduled'), 0)::bigint as jobs_scheduled,
    coalesce(sum(q.count) filter (where q.state = 'ready'), 0)::bigint as jobs_ready,
    coalesce(sum(q.count) filter (where q.state = 'running'), 0)::bigint as jobs_running,
    coalesce(sum(q.count) filter (where q.state = 'retrying'), 0)::bigint as jobs_retrying,
    coalesce(sum(q.count) filter (where q.state = 'dead'), 0)::bigint as jobs_dead
  from ledger_read.queue_counts q
) as j
