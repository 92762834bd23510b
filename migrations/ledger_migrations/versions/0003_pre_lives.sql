-- What a projection folds in a rebuild, as before but for the plan: every position in the log is below `high`, and still the
-- planner took the index on position and read the whole partition for each share of a rebuild. With an expression in place of
-- the column, the key is what is left to read by.
create or replace function ledger.events_born_in(
  born_from uuid, born_to uuid, low bigint, high bigint, late bigint[], holes int8multirange, parked uuid[]
) returns table (
  "position" bigint, at timestamptz, job_id uuid, version int, kind ledger.event_kind, priority smallint, queue text,
  actor text, data json, meta json
) language sql stable as $$
  select e.position, e.at, e.job_id, e.version, e.kind, e.priority, e.queue, e.actor, e.data, e.meta
  from ledger.events e
  where e.job_id >= born_from and e.job_id <= born_to
    and e.position + 0 > low and e.position + 0 <= high and not e.position <@ holes and e.job_id <> all (parked)
$$;

-- What a projection folds as it keeps up: as before, but for `holes`, which were not left out. The end of a rebuild reads and
-- folds in two snapshots; what filled a hole in between was folded at once, and again when the cursor came to the hole.
create or replace function ledger.events_in(
  born_from uuid, born_to uuid, low bigint, high bigint, late bigint[], holes int8multirange, parked uuid[]
) returns table (
  "position" bigint, at timestamptz, job_id uuid, version int, kind ledger.event_kind, priority smallint, queue text,
  actor text, data json, meta json
) language sql stable as $$
  select e.position, e.at, e.job_id, e.version, e.kind, e.priority, e.queue, e.actor, e.data, e.meta
  from ledger.events e
  where e.position > low and e.position <= high and not e.position <@ holes and e.job_id <> all (parked)
  union all
  select e.position, e.at, e.job_id, e.version, e.kind, e.priority, e.queue, e.actor, e.data, e.meta
  from ledger.events e
  where e.position = any (late) and e.job_id <> all (parked)
$$;
