-- Pauses a queue; one that is paused stays as it was.
--   queue, actor, reason (null: none was given)
-- Returns (paused_at, paused_by, reason) when it was not paused before. Two at once meet in the primary key, and the
-- second gets nothing.
insert into ledger.pauses as p (queue, paused_by, reason)
values (%(queue)s, %(actor)s, %(reason)s)
on conflict (queue) do nothing
returning p.paused_at, p.paused_by, p.reason
