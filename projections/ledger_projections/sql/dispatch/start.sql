-- Starts the dispatch cursor at the log's beginning, unless there is one. Its origin is found to be new by the first turn.
insert into ledger.cursors (projection, generation, version) values ('dispatch', 'live', 1)
on conflict (projection, generation) do nothing
