-- How many events the log holds.
select count(*) from ledger.events
