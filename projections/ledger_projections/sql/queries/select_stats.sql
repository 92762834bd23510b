-- The system at a glance: attempts started in the last 24 hours by state, and the jobs' counts now.
-- Attempts are reached by their index on started_at; jobs are not counted, `queue_stats` keeps their counts.
select
  a.total, a.succeeded, a.failed, a.dead, a.snoozed, a.released, a.crashed, a.cancelled, a.running,
  a.avg_duration_ms, j.jobs_scheduled, j.jobs_ready, j.jobs_running, j.jobs_retrying, j.jobs_dead
from (
  select
    count(*) as total,
    count(*) filter (where t.state = 'succeeded') as succeeded,
    count(*) filter (where t.state = 'failed') as failed,
    count(*) filter (where t.state = 'dead') as dead,
    count(*) filter (where t.state = 'snoozed') as snoozed,
    count(*) filter (where t.state = 'released') as released,
    count(*) filter (where t.state = 'crashed') as crashed,
    count(*) filter (where t.state = 'cancelled') as cancelled,
    count(*) filter (where t.state = 'running') as running,
    coalesce(avg(t.duration_ms), 0)::float8 as avg_duration_ms
  from ledger_read.attempts t
  where t.started_at > clock_timestamp() - interval '24 hours'
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
