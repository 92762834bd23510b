-- I4: per job the versions run 1, 2, 3 … without a hole, the position rises with them, and each step is one the rules know.
--   steps   the kinds that may follow each other, as `before>after`, and `>kind` for what may open a job
-- One pass over the log in the order of its primary key.
with placed as (
  select
    e.job_id, e.version, e.position, e.kind,
    lag(e.version) over job as before_version,
    lag(e.position) over job as before_position,
    lag(e.kind) over job as before_kind
  from ledger.events e
  window job as (partition by e.job_id order by e.version)
)
select p.job_id || ':' || p.version as subject, c.expected, c.found
from placed p
cross join lateral (
  select 'version ' || coalesce(p.before_version, 0) + 1 as expected, 'version ' || p.version as found
  where p.version <> coalesce(p.before_version, 0) + 1
  union all
  select 'a position above ' || p.before_position, 'position ' || p.position
  where p.position < p.before_position
  union all
  select 'a kind that may follow ' || coalesce(p.before_kind::text, 'nothing'), p.kind::text
  where coalesce(p.before_kind::text, '') || '>' || p.kind::text <> all (%(steps)s::text[])
) as c
order by p.job_id, p.version
