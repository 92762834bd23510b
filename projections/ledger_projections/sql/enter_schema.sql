-- Lets names without a schema mean this schema's tables, until the transaction ends.
--   schema
-- What the transaction writes can be made again from the log, so its commit waits for no disk. Compiling a statement
-- costs more than folding a batch with it.
select
  set_config('search_path', %(schema)s, true),
  set_config('synchronous_commit', 'off', true),
  set_config('jit', 'off', true)
