-- Drops what stands aside.
select ledger.drop_retired()
