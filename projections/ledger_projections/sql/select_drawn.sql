-- The highest position anybody has drawn, committed or not. A cursor that stands there and has no holes has read
-- everything there is: the cheapest question that can be asked of the log.
-- The function asks for no more than the right to draw, which the application's role has; the sequence itself would.
select coalesce(pg_sequence_last_value('ledger.event_positions'::regclass), 0)
