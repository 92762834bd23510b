-- Appends the first events of jobs whose ids were minted just now, so that nobody can be in their way.
--
--   rows   one JSON array of objects with the columns of those names; other members are not looked at
--
-- Returns position and time of each, in the order of the array, in which the rows go in as well.
insert into ledger.events (job_id, version, kind, queue, priority, actor, data, body, meta)
select r.job_id, 1, r.kind, r.queue, r.priority, r.actor, r.data, r.body, r.meta
from rows from (
  json_to_recordset(%(rows)s::json) as (
    job_id uuid, kind ledger.event_kind, queue text, priority smallint, actor text, data json, body json, meta json
  )
) with ordinality as r (job_id, kind, queue, priority, actor, data, body, meta, n)
order by r.n
returning position, at
