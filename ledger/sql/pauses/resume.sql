-- Resumes a queue; one that is not paused stays as it was.
--   queue
-- Returns (paused_at, paused_by, reason) when it was paused. Served by the primary key, whose row lock lets only one of
-- two resume it.
delete from ledger.pauses p
where p.queue = %(queue)s
returning p.paused_at, p.paused_by, p.reason
