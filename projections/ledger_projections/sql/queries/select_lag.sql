-- How far each projection has read, and how far behind the log it is.
--   names   of the projections that should be there; others that have a cursor are shown too
-- One look-up of the log's end and one of each projection's next event, by the index on position; nothing is counted, so
-- positions that a rollback left empty are counted as events.
with head as materialized (
  select coalesce(max(e.position), 0) as position from ledger.events e
),
named as (
  select unnest(%(names)s::text[]) as name
  union
  select c.projection from ledger.cursors c
)
select
  n.name,
  coalesce(live.version, next.version, 0) as version,
  coalesce(live.high, 0) as position,
  head.position as head,
  greatest(head.position - coalesce(live.high, 0), 0) as lag_events,
  coalesce(greatest(extract(epoch from statement_timestamp() - unread.at), 0), 0)::float8 as lag_seconds,
  coalesce(parked.count, 0) as parked,
  live.projection is not null as live,
  next.projection is not null as building,
  coalesce(extract(epoch from statement_timestamp() - live.moved_at), 0)::float8 as still_seconds
from named n
cross join head
left join ledger.cursors live on live.projection = n.name and live.generation = 'live'
left join ledger.cursors next on next.projection = n.name and next.generation = 'next'
left join lateral (
  select e.at
  from ledger.events e
  where e.position > coalesce(live.high, 0)
  order by e.position
  limit 1
) as unread on true
left join lateral (select count(*) as count from ledger.parked p where p.projection = n.name) as parked on true
order by n.name
