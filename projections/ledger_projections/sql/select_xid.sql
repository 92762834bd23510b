-- This transaction's xid. Given after its snapshot was taken, it is above that of everyone who had drawn a position by then.
select pg_current_xact_id()::text::bigint
