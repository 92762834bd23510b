-- Draws so many positions at once, and returns the one before the first of them.
--   count
select setval('ledger.event_positions', s.last_value + %(count)s::bigint) - %(count)s::bigint
from ledger.event_positions s
