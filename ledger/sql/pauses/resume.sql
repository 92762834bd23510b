-- Resumes a queue and puts that on record; one that is not paused stays as it was.
--   queue, actor, reason (null: none was given)
-- Counts one row when the queue was paused. Served by the primary key, whose row lock lets only one of two resume it.
with resumed as (
  delete from ledger.pauses p
  where p.queue = %(queue)s
  returning p.queue, p.paused_at, p.paused_by, p.reason
)
insert into ledger.audit (actor, action, subject, reason, before)
select
  %(actor)s, 'queue.resumed', r.queue, %(reason)s,
  json_build_object('paused_at', r.paused_at, 'paused_by', r.paused_by, 'reason', r.reason)
from resumed r
