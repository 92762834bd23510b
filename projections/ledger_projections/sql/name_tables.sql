-- Names the tables that `drop_tables` drops, until the transaction ends: a block takes no parameters.
--   tables   names with commas between them
select set_config('ledger.tables', %(tables)s, true)
