-- I5: a job ends once at most and nothing comes after; each `failed` is followed, by the same writer, by what comes of it.
-- One pass over the log in the order of its primary key.
with placed as (
  select
    e.job_id, e.version, e.kind, e.actor,
    lead(e.kind) over job as next_kind,
    lead(e.actor) over job as next_actor
  from ledger.events e
  window job as (partition by e.job_id order by e.version)
)
select p.job_id || ':' || p.version as subject, c.expected, c.found
from placed p
cross join lateral (
  select 'nothing after ' || p.kind::text as expected, p.next_kind::text as found
  where p.kind in ('succeeded', 'cancelled', 'discarded') and p.next_kind is not null
  union all
  select 'failed, then retried or dead_lettered by ' || p.actor,
         coalesce(p.next_kind::text || ' by ' || p.next_actor, 'nothing')
  where p.kind = 'failed'
    and (p.next_kind in ('retried', 'dead_lettered') and p.next_actor = p.actor) is not true
) as c
order by p.job_id, p.version
