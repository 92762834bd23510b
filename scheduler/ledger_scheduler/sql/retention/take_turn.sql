-- Takes the turn of retiring until the transaction ends; false when another scheduler has it. A lock that the transaction
-- asks for later is waited for no longer than a few seconds.
with turn as materialized (
  select pg_try_advisory_xact_lock(hashtextextended('ledger.retention', 0)) as held,
         set_config('lock_timeout', '5s', true) as limited
)
select turn.held and turn.limited is not null from turn
