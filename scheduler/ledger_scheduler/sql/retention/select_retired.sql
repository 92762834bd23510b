-- The partition that stands aside, if any: which it was, and when it left.
select r.partition, r.retired_at from ledger.retirements r where r.dropped_at is null
