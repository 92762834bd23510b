-- Takes the migrators' lock until the transaction ends, then makes the schema that Alembic's own table lives in.
-- A session that waits for the lock has no snapshot yet, so what it reads afterwards is what the first one left.
select pg_advisory_xact_lock(hashtextextended('ledger.migrate', 0));
set local lock_timeout = '30s';
create schema if not exists ledger;
