-- The few events after a position, in order, and the snapshot's xmin in every row; at least one row. Enough to dispatch new
-- jobs one by one without the look-ups that `read` needs for all that may have happened before. Served by the index on
-- position.
--   high, limit
select s.xmin, e.position, e.job_id, e.version, e.kind, e.queue, e.priority, e.type, e.mark
from (select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as xmin) as s
left join lateral (
  select
    e.position, e.job_id, e.version, e.kind::text as kind, e.queue, e.priority,
    case when e.kind = 'enqueued' and e.version = 1 then e.data ->> 'type' end as type,
    -- Of those whose commit waited for the disk.
    case when e.kind <> 'leased' then
      e.job_id || ':' || e.version || ':' || (extract(epoch from e.at) * 1000000)::bigint
    end as mark
  from ledger.events e
  where e.position > %(high)s::bigint
  order by e.position
  limit %(limit)s::bigint
) as e on true
