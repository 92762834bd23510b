-- The database's clock, the only one that decides when something is due.
select clock_timestamp()
