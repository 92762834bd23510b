-- Gives the history of a job that has succeeded to as many new ones: numbers first to last, of so many jobs in all.
-- They are born evenly over the last 20 hours; positions come by default, as for every writer.
with model as materialized (
  select e.version, e.kind, e.priority, e.schema_version, e.queue, e.actor, e.data, e.body, e.meta
  from ledger.events e
  where e.job_id = (select s.job_id from ledger.events s where s.kind = 'succeeded' limit 1)
),
born as (
  select n, gen_random_uuid()::text as random,
    lpad(to_hex(floor(extract(epoch from now()) * 1000)::bigint
      - 72000000 + (n * 72000000.0 / %(jobs)s::bigint)::bigint), 12, '0') as milliseconds
  from generate_series(%(first)s::bigint, %(last)s::bigint) as n
)
insert into ledger.events (job_id, version, kind, priority, schema_version, queue, actor, data, body, meta)
select
  (substr(b.milliseconds, 1, 8) || '-' || substr(b.milliseconds, 9, 4) || '-7' || substr(b.random, 16))::uuid,
  m.version, m.kind, m.priority, m.schema_version, m.queue, m.actor,
  -- Each lease has a nonce of its own.
  coalesce(replace(m.data::text, m.data ->> 'nonce', substr(replace(b.random, '-', ''), 1, 18))::json, m.data),
  m.body, m.meta
from born b
cross join model m
order by b.n, m.version
