-- What some jobs were asked to do: type, retries, payload and metadata, as their first events hold them.
--   job_ids   one JSON array of ids
-- The primary key serves it.
select e.job_id, e.data ->> 'type' as type, (e.data ->> 'max_retries')::int as max_retries,
       coalesce(e.body::text, '{}') as payload, coalesce((e.data -> 'metadata')::text, '{}') as metadata
from (select distinct value::uuid as job_id from json_array_elements_text(%(job_ids)s::json)) as wanted
cross join lateral (
  select h.job_id, h.body, h.data from ledger.events h where h.job_id = wanted.job_id and h.version = 1 offset 0
) as e
