-- Takes the turns of some projections of one generation until the transaction ends, and reads their cursors.
--   projections, generation
--   marks       where each cursor's row stood when the caller last moved it, as text; null where it does not know
--   lock_wait   how long the transaction waits for a lock from then on; null leaves it be
-- No row of those whose turn another session has, or which have no cursor. A lock may be given after the snapshot was
-- taken, so a cursor may be one that has moved since: moving it again then fails.
-- A session that stops in the middle of its turn is ended by the server, so that another can take over. The commit waits
-- for no disk: what a turn writes can be made again from the log. The log is read by index, whatever the planner last
-- heard of the size of a partition; a batch has memory enough not to be written to files.
-- A row is looked for at its mark first: while a snapshot is held open, nothing that moves have left behind can be
-- removed, and to look by the key would go through all of it, many times a second.
with turns as materialized (
  select
    w.projection,
    w.mark,
    pg_try_advisory_xact_lock(hashtextextended('ledger.projection ' || w.projection || ' ' || %(generation)s::text, 0)) as held
  from unnest(%(projections)s::text[], %(marks)s::text[]) as w (projection, mark)
),
relaxed as materialized (
  select
    set_config('idle_in_transaction_session_timeout', '30s', true) as limited,
    set_config('synchronous_commit', 'off', true) as relaxed,
    set_config('enable_seqscan', 'off', true) as indexed,
    set_config('work_mem', '32MB', true) as roomy,
    set_config('lock_timeout', coalesce(%(lock_wait)s, current_setting('lock_timeout')), true) as hurried
)
select
  c.projection, c.version, c.high, c.old_holes, c.old_horizon, c.young_holes, c.young_horizon, c.origin,
  c.ctid::text as mark,
  -- The control file still names the old timeline for a while after a promotion; the WAL does not.
  s.system_identifier::text || '/' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) as present_origin
from turns t
cross join relaxed r
cross join pg_control_system() as s
join ledger.cursors c on c.ctid = coalesce(
  (
    select m.ctid from ledger.cursors m
    where m.ctid = t.mark::tid and m.projection = t.projection and m.generation = %(generation)s
  ),
  (select k.ctid from ledger.cursors k where k.projection = t.projection and k.generation = %(generation)s)
)
where t.held and r.limited is not null and r.relaxed is not null and r.indexed is not null and r.roomy is not null
  and r.hurried is not null
