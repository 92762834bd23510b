-- Why a partition must stay (null: it may leave), and when its last event was. Reads all of the partition.
--   partition, retention
select l.pin, l.last_at from ledger.look_at_partition(%(partition)s, %(retention)s::interval) as l
