-- Gives the history of a job that has succeeded to as many new ones: numbers first to last, of so many jobs in all.
-- They are born evenly over the last 20 hours, or what there is of this week, so that one partition holds them all; each
-- event comes some milliseconds after the one before. Their positions, in the same order, were drawn beforehand.
--   first, last, jobs
--   position   the one before the first event of number 0
with model as materialized (
  select e.version, count(*) over () as events, e.kind, e.priority, e.schema_version, e.queue, e.actor, e.data, e.body, e.meta
  from ledger.events e
  where e.job_id = (select s.job_id from ledger.events s where s.kind = 'succeeded' limit 1)
),
span as materialized (
  select s.begun, (now() - s.begun) / %(jobs)s::bigint as step
  from (select greatest(now() - interval '20 hours', date_trunc('week', now(), 'UTC')) as begun) as s
),
timed as (
  select n, gen_random_uuid()::text as random, s.begun + s.step * n as at,
    lpad(to_hex(floor(extract(epoch from s.begun + s.step * n) * 1000)::bigint), 12, '0') as milliseconds
  from span s
  cross join generate_series(%(first)s::bigint, %(last)s::bigint) as n
),
born as (
  select t.n, t.random, t.at,
    substr(t.milliseconds, 1, 8) || '-' || substr(t.milliseconds, 9, 4) || '-7' || substr(t.random, 16) as job_id
  from timed t
)
insert into ledger.events (
  position, at, job_id, version, kind, priority, schema_version, queue, actor, data, body, meta
)
select
  %(position)s::bigint + b.n * m.events + m.version,
  b.at + m.version * interval '4 ms',
  b.job_id::uuid,
  m.version, m.kind, m.priority, m.schema_version, m.queue, m.actor,
  -- Each lease has a nonce of its own, and was made ready when its job was.
  case when m.kind = 'leased' then json_build_object(
    'worker_id', m.data ->> 'worker_id', 'attempt', m.data -> 'attempt',
    'nonce', substr(b.random, 20, 17), 'ready_at', b.at + interval '4 ms'
  ) else m.data end,
  m.body,
  -- Nobody has correlated it: it carries its own id.
  case when m.meta is not null then json_build_object('correlation_id', b.job_id) end
from born b
cross join model m
