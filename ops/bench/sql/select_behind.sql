-- Says how many projections there are, how far the slowest has read, and the position of the last event: later
-- ones may have been drawn in vain, by a lease that was refused.
select
  (select count(*) from ledger.cursors c where c.generation = 'live')::int,
  (select coalesce(min(c.high), 0) from ledger.cursors c where c.generation = 'live')::bigint,
  (select coalesce(max(e.position), 0) from ledger.events e)::bigint
