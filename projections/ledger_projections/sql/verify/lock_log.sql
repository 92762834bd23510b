-- Keeps the log's partitions as they are until the transaction ends. Before the snapshot is taken: a week that left the
-- log in between would still have its rows in the read models of that snapshot. Waits for nobody but a week just leaving.
lock table ledger.events in access share mode
