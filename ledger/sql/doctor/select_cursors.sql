-- How far each projection has read: events behind the head of the log, open holes, and how long ago its cursor moved.
-- No parameters. The head is the sequence's last value, which costs nothing to read; rolled-back appends are in it.
with head as (
  select case when is_called then last_value else 0 end as position from ledger.event_positions
)
select
  c.projection,
  c.generation,
  greatest(head.position - c.high, 0) as lag_events,
  (select coalesce(sum(upper(hole) - lower(hole)), 0) from unnest(c.old_holes) as hole)
    + (select coalesce(sum(upper(hole) - lower(hole)), 0) from unnest(c.young_holes) as hole) as holes,
  extract(epoch from clock_timestamp() - c.moved_at)::float8 as still_seconds,
  (select count(*) from ledger.parked p where p.projection = c.projection) as parked
from ledger.cursors c cross join head
order by c.projection, c.generation
