-- Lets this transaction use more memory than one of many may: a rebuild has few, and each has much to sort.
-- The keys of the tables it fills are made last. Whole lives look for no row there; where one with poison in it had to be
-- taken apart, the later parts do, and hash the table rather than read it once a row.
select
  set_config('work_mem', '64MB', true),
  set_config('maintenance_work_mem', '256MB', true),
  set_config('enable_hashjoin', 'on', true)
