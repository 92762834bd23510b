-- Lets this transaction use more memory than one of many may: a rebuild has few, and each has much to sort.
select set_config('work_mem', '64MB', true), set_config('maintenance_work_mem', '256MB', true)
