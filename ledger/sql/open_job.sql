-- Appends the first event of a job whose id was minted just now, so that nobody can be in its way.
--
--   job_id, kind, queue, priority, actor, data, body, meta   the columns of that name
--
-- Returns position and time.
insert into ledger.events (job_id, version, kind, queue, priority, actor, data, body, meta)
values (
  %(job_id)s, 1, %(kind)s::ledger.event_kind, %(queue)s, %(priority)s, %(actor)s, %(data)s::json, %(body)s::json,
  %(meta)s::json
)
returning position, at
