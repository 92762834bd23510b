-- Whether the log has room and anybody works: weeks of partitions still ahead, and workers whose heart beats.
-- Parameters: silent_after interval, the silence after which a worker is taken for dead.
select
  (select count(*) from pg_inherits where inhparent = 'ledger.events'::regclass) as partitions,
  (select max(to_date(substring(c.relname from 'events_(\d{4}w\d{2})'), 'IYYY"w"IW')) - current_date
   from pg_inherits i join pg_class c on c.oid = i.inhrelid
   where i.inhparent = 'ledger.events'::regclass) as days_ahead,
  (select count(*) from ledger.workers
   where not stopping and heartbeat_at > clock_timestamp() - %(silent_after)s::interval) as workers
