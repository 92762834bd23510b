-- The names of the paused queues. A table of as many rows: it is read whole.
select p.queue from ledger.pauses p
