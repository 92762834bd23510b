-- The durations measured in a queue in the window that ends now, to the minute: how many in each bucket.
--   queue, window   the key of queue_histograms serves it
select h.measure, h.bucket::int, sum(h.count)::bigint as count
from ledger_read.queue_histograms h
where h.queue = %(queue)s
  and h.minute > date_trunc('minute', statement_timestamp()) - %(window)s::interval
group by h.measure, h.bucket
order by h.measure, h.bucket
