-- In how many seconds the next tick is, null when none will be. Those that are due already are not counted: they were
-- just dealt with, or cannot be. One step on the partial index on next_run_at.
select extract(epoch from min(s.next_run_at) - clock_timestamp())::float8
from ledger.schedules s
where s.next_run_at > now()
