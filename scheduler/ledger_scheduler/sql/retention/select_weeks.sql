-- The partitions that are older than the retention, oldest first, and whether a job of theirs is known not to have ended.
--   retention
-- Of a week that may still get ids (they may be a day old), an empty partition is left alone: it would be made again.
-- The read model answers by its index (state, created_at); no job was made before its id, but for a day of other clocks.
select
  b.partition, b.born_from, b.born_to,
  extract(epoch from clock_timestamp() - ledger.born(b.born_to))::float8 as age,
  exists (
    select from ledger_read.jobs j
    where j.state in ('scheduled', 'ready', 'running', 'retrying', 'dead')
      and j.created_at >= ledger.born(b.born_from) - interval '1 day'
      and j.job_id >= b.born_from and j.job_id < b.born_to
  ) as pinned
from ledger.partition_bounds() b
where ledger.born(b.born_to) <= clock_timestamp() - %(retention)s::interval
  and (
    ledger.born(b.born_to) <= date_trunc('week', now(), 'UTC') - interval '7 days'
    or exists (select from ledger.events e where e.job_id >= b.born_from and e.job_id < b.born_to)
  )
order by b.born_from
