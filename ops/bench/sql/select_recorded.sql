-- Says how many jobs have succeeded, and when the last did, in microseconds since 1970.
select count(*)::bigint, coalesce((extract(epoch from max(e.at)) * 1000000)::bigint, 0)
from ledger.events e
where e.kind = 'succeeded'
