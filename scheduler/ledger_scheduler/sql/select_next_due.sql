-- In how many seconds the next job becomes due, null when none will. Jobs that are due already are not counted: they
-- were just dealt with, and the read model may not have heard yet. One step on the partial index on run_at.
select extract(epoch from min(j.run_at) - clock_timestamp())::float8
from ledger_read.jobs j
where j.state in ('scheduled', 'retrying') and j.run_at > now()
