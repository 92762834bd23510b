-- Says how many projections there are, how far the slowest has read, and the last position that was drawn.
select
  (select count(*) from ledger.cursors c where c.generation = 'live')::int,
  (select coalesce(min(c.high), 0) from ledger.cursors c where c.generation = 'live')::bigint,
  (select case when s.is_called then s.last_value else 0 end from ledger.event_positions s)::bigint
