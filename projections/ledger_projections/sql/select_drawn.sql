-- The highest position anybody has drawn, committed or not. A cursor that stands there and has no holes has read
-- everything there is: the cheapest question that can be asked of the log.
select case when is_called then last_value else 0 end from ledger.event_positions
