-- Starts a cursor without holes, in place of any that is there.
--   projection, generation, version, high
insert into ledger.cursors as c (projection, generation, version, high, origin)
select
  %(projection)s, %(generation)s, %(version)s, %(high)s,
  s.system_identifier::text || '/' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)
from pg_control_system() as s
on conflict (projection, generation) do update
set version = excluded.version,
    high = excluded.high,
    old_holes = '{}',
    old_horizon = 0,
    young_holes = '{}',
    young_horizon = 0,
    origin = excluded.origin,
    moved_at = clock_timestamp()
