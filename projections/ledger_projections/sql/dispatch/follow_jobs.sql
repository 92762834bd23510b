-- Sets the dispatch cursor to where the projection `jobs` has read, holes and horizons included. To the log's beginning
-- where that projection has not begun: then no job is in its read model, and all of them come by reading the log.
-- Returns whether there is such a read model.
update ledger.cursors d
set high = coalesce(j.high, 0),
    old_holes = coalesce(j.old_holes, '{}'), old_horizon = coalesce(j.old_horizon, 0),
    young_holes = coalesce(j.young_holes, '{}'), young_horizon = coalesce(j.young_horizon, 0),
    origin = coalesce(j.origin, d.origin), moved_at = clock_timestamp()
from (select) as always
left join ledger.cursors j on j.projection = 'jobs' and j.generation = 'live'
where d.projection = 'dispatch' and d.generation = 'live'
returning j.projection is not null
