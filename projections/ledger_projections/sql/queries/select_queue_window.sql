-- What went through a queue in the window that ends now, to the minute.
--   queue, window   the key of queue_minutes serves it
select
  coalesce(sum(m.enqueued), 0)::bigint as enqueued,
  coalesce(sum(m.succeeded), 0)::bigint as succeeded,
  coalesce(sum(m.failed), 0)::bigint as failed,
  coalesce(sum(m.retried), 0)::bigint as retried,
  coalesce(sum(m.dead_lettered), 0)::bigint as dead_lettered,
  coalesce(sum(m.cancelled), 0)::bigint as cancelled,
  coalesce(sum(m.crashed), 0)::bigint as crashed,
  max(m.wait_max_ms) as wait_max_ms,
  max(m.run_max_ms) as run_max_ms
from ledger_read.queue_minutes m
where m.queue = %(queue)s
  and m.minute > date_trunc('minute', statement_timestamp()) - %(window)s::interval
