-- Lets names without a schema mean this schema's tables, until the transaction ends.
--   schema
-- What the transaction writes can be made again from the log, so its commit waits for no disk.
-- A fold reads its window by position and looks the rest up by key, whatever the planner has heard of the tables. Of a new
-- partition it has heard nothing, and would combine the window with all births there are in a bitmap; and of how many rows
-- of a batch are new it knows nothing, and would hash all jobs there are to find the few. Compiling a fold takes longer than
-- running it.
select
  set_config('search_path', %(schema)s, true),
  set_config('synchronous_commit', 'off', true),
  set_config('enable_seqscan', 'off', true),
  set_config('enable_bitmapscan', 'off', true),
  set_config('enable_hashjoin', 'off', true),
  set_config('enable_mergejoin', 'off', true),
  set_config('jit', 'off', true)
