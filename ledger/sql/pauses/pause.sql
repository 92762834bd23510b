-- Pauses a queue and puts that on record; one that is paused stays as it was.
--   queue, actor, reason (null: none was given)
-- Counts one row when the queue was not paused before. Two at once meet in the primary key, and the second adds nothing.
with paused as (
  insert into ledger.pauses (queue, paused_by, reason)
  values (%(queue)s, %(actor)s, %(reason)s)
  on conflict (queue) do nothing
  returning queue, paused_at, paused_by, reason
)
insert into ledger.audit (actor, action, subject, reason, after)
select p.paused_by, 'queue.paused', p.queue, p.reason, json_build_object('paused_at', p.paused_at)
from paused p
