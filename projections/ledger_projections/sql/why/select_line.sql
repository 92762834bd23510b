-- How many ready jobs go before a ready job: of its own queue, and of queues that its workers name first.
--   queue, priority, ready_at, job_id   the job's
--   before                              the queues named first
--   most                                where counting ends
-- Counted in jobs' index of ready jobs, and no further than `most`; of other queues, as kept by `queue_stats`.
select
  (
    select count(*)
    from (
      select from ledger_read.jobs j
      where j.state = 'ready' and j.queue = %(queue)s
        and (j.priority, j.ready_at, j.job_id) < (%(priority)s::smallint, %(ready_at)s, %(job_id)s)
      limit %(most)s
    ) as earlier
  ) as ahead,
  (
    select coalesce(sum(q.count), 0)
    from ledger_read.queue_counts q
    where q.state = 'ready' and q.queue = any (%(before)s) and q.queue not in (select p.queue from ledger.pauses p)
  )::bigint as elsewhere
