-- All events of some jobs, in version order.
--   job_ids   one JSON array of ids
-- The primary key serves it: for each job one partition, one range.
select e.job_id, e.version, e.position, e.at, e.kind::text, e.queue, e.priority, e.actor, e.schema_version,
       e.data::text, e.body::text, e.meta::text
from (select distinct value::uuid as job_id from json_array_elements_text(%(job_ids)s::json)) as wanted
cross join lateral (
  select h.job_id, h.version, h.position, h.at, h.kind, h.queue, h.priority, h.actor, h.schema_version,
         h.data, h.body, h.meta
  from ledger.events h
  where h.job_id = wanted.job_id
  offset 0
) as e
order by e.job_id, e.version
