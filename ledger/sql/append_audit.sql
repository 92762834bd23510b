-- Puts on record what somebody did to anything that is not a job, in the transaction that does it.
--
--   actor, action, subject, reason   who did what to which one, and why
--   before, after                    the resource as JSON; null where it was not there
insert into ledger.audit (actor, action, subject, reason, before, after)
values (
  %(actor)s::text, %(action)s::text, %(subject)s::text, %(reason)s::text, %(before)s::json, %(after)s::json
)
returning position
