-- Begins a transaction whose statements are planned once for all times, by index, whatever the planner last heard of the
-- size of a partition (a new week's is empty when it is planned for), and never compiled. One round trip.
begin;
set local plan_cache_mode = force_generic_plan;
set local enable_seqscan = off;
set local jit = off
