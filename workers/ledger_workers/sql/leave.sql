-- Strikes a worker process off the list: it has left, and holds no lease.
--
--   id   of the worker
--
-- Served by the primary key.
delete from ledger.workers where id = %(id)s
