-- Names the range of ids that `delete_rows` deletes, until the transaction ends: a block takes no parameters.
--   born_from, born_to   the second is not in the range
select set_config('ledger.born_from', %(born_from)s::uuid::text, true),
       set_config('ledger.born_to', %(born_to)s::uuid::text, true)
