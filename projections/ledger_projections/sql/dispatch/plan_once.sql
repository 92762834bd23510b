-- Lets the statements of this transaction be planned once for all times, by index, whatever the planner last heard of the
-- size of a partition (a new week's is empty when it is planned for), and never compiled.
select
  set_config('plan_cache_mode', 'force_generic_plan', true),
  set_config('enable_seqscan', 'off', true),
  set_config('jit', 'off', true)
