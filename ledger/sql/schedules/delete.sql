-- Removes a schedule, if it still is at the version that was read; its jobs stay. Primary key.
--   id, version
delete from ledger.schedules s
where s.id = %(id)s::uuid and s.version = %(version)s::int
returning s.id
