-- Waits for the turn of one projection generation and keeps it until the transaction ends.
--   projection, generation
select pg_advisory_xact_lock(
  hashtextextended('ledger.projection ' || %(projection)s::text || ' ' || %(generation)s::text, 0)
)
