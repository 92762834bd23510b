-- The events of a page's jobs, each up to the version its row in the read model has, in version order.
--   wanted        one JSON array of {job_id, version}
--   with_payload  false leaves the payloads out, which a list does not show
-- The columns are those of the log's own `select_histories`. The primary key serves it.
select e.job_id, e.version, e.position, e.at, e.kind::text, e.queue, e.priority, e.actor, e.schema_version,
       e.data::text, e.body::text, e.meta::text
from json_to_recordset(%(wanted)s::json) as wanted (job_id uuid, version int)
cross join lateral (
  select h.job_id, h.version, h.position, h.at, h.kind, h.queue, h.priority, h.actor, h.schema_version,
         h.data, case when h.version > 1 or %(with_payload)s then h.body end as body, h.meta
  from ledger.events h
  where h.job_id = wanted.job_id and h.version <= wanted.version
  offset 0  -- keeps the planner from joining the whole log instead of looking up one range a row
) as e
order by e.job_id, e.version
