-- Schedules, pauses, keys, notes, and the audit of what operators did to them; two ways to read the log; how a week of it
-- leaves.

-- What is to be enqueued when. A tick's job has an id derived from schedule and tick, so that the log's key decides who
-- fires it; these rows only say what is next.
create table ledger.schedules (
  id uuid primary key,
  name text not null unique,
  version int not null default 1 check (version > 0),   -- rises with every change, a tick's too: what an ETag shows
  origin text not null check (origin in ('api', 'code')),
  job_type text not null,
  payload json not null default '{}',
  payload_version int not null default 1 check (payload_version > 0),
  cron_expression text not null,
  timezone text not null default 'UTC',
  queue text not null,
  priority smallint not null check (priority between 0 and 3),
  max_retries int not null check (max_retries >= 0),
  timeout_seconds double precision not null check (timeout_seconds > 0),
  retry json,                                            -- null: as the scheduler's settings have it at each tick
  metadata json not null default '{}',
  is_active boolean not null default true,
  catch_up text not null default 'once' check (catch_up in ('skip', 'once', 'all')),
  catch_up_window_seconds double precision not null default 86400 check (catch_up_window_seconds between 0 and 2592000),
  overlap text not null default 'allow' check (overlap in ('allow', 'skip', 'cancel_previous')),
  last_run_at timestamptz,
  last_run_status text check (last_run_status in ('enqueued', 'skipped_overlap', 'skipped_missed')),
  last_job_id uuid,
  next_run_at timestamptz,                               -- the first tick not decided yet; null while paused
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp()
);
create index schedules_next_run_at on ledger.schedules (next_run_at) where next_run_at is not null;

-- The queues nothing new is leased from.
create table ledger.pauses (
  queue text primary key,
  paused_at timestamptz not null default clock_timestamp(),
  paused_by text not null,
  reason text
);

-- Keys made with `ledger key create`; their secrets are not here, only what they hash to. Several may have one name at the
-- same time, so that a secret can be replaced without a gap.
create table ledger.api_keys (
  id uuid primary key,
  name text not null,
  scope text not null check (scope in ('read', 'write', 'admin')),
  digest bytea not null unique,
  created_at timestamptz not null default clock_timestamp(),
  created_by text not null,
  expires_at timestamptz,
  revoked_at timestamptz
);

-- What handlers say while they run: bounded for each run, and beside the log rather than in it.
create table ledger.notes (
  job_id uuid not null,
  lease_version int not null,
  number int not null,                                   -- 1, 2, 3 … within the run
  at timestamptz not null default clock_timestamp(),
  progress real check (progress between 0 and 1),
  message text,
  primary key (job_id, lease_version, number)
);

-- What operators did to anything that is not a job: a job's own history says it of jobs. Append-only, like the log.
create table ledger.audit (
  position bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  actor text not null,
  action text not null,                                  -- such as 'queue.paused', 'schedule.updated', 'key.revoked'
  subject text not null,                                 -- the name of the queue, schedule or key
  reason text,
  before json,
  after json
);
create index audit_subject on ledger.audit (subject, position);
create trigger append_only before update or delete or truncate on ledger.audit
  for each statement execute function ledger.refuse_change();

-- Weeks that have left the log, whose jobs had all ended.
create table ledger.retirements (
  partition text primary key,
  born_from uuid not null,
  born_to uuid not null,
  jobs bigint not null,
  events bigint not null,
  last_at timestamptz,                                   -- of its last event; null where there was none
  retired_at timestamptz not null default clock_timestamp(),
  dropped_at timestamptz                                 -- null while it stands aside, as ledger.retired
);

-- The instant an id was made at, or the lowest of those it is a bound of.
create function ledger.born(job_id uuid) returns timestamptz language sql immutable strict as $$
  select to_timestamp(('x' || left(replace(job_id::text, '-', ''), 12))::bit(48)::bigint / 1000.0)
$$;

-- The log's partitions, and the ids of the jobs in each: from the first bound to below the second.
create function ledger.partition_bounds() returns table (partition text, born_from uuid, born_to uuid)
language sql stable as $$
  select p.relname::text, bound.parts[1]::uuid, bound.parts[2]::uuid
  from pg_catalog.pg_inherits i
  join pg_catalog.pg_class p on p.oid = i.inhrelid
  cross join lateral (
    select regexp_match(
      pg_catalog.pg_get_expr(p.relpartbound, p.oid), 'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)'
    ) as parts
  ) as bound
  where i.inhparent = 'ledger.events'::regclass
$$;

-- The first minute that statistics count: those before hold events of weeks that have left, and would be half told.
create function ledger.counted_from() returns timestamptz language sql stable as $$
  select coalesce(date_trunc('minute', max(r.last_at)) + interval '1 minute', '-infinity') from ledger.retirements r
$$;

-- Why a partition must stay in the log, or null where it may leave; and what is in it. Reads all of it.
create function ledger.look_at_partition(
  name text, retention interval,
  out pin text, out born_from uuid, out born_to uuid, out jobs bigint, out events bigint, out last_position bigint,
  out last_at timestamptz
) language plpgsql stable as $$
declare
  ended bigint;
begin
  select b.born_from, b.born_to into born_from, born_to
  from ledger.partition_bounds() b where b.partition = look_at_partition.name;
  if not found then
    pin := 'it is not in the log';
    return;
  end if;
  select count(*) filter (where e.version = 1),
         count(*) filter (where e.kind in ('succeeded', 'cancelled', 'discarded')),
         count(*), coalesce(max(e.position), 0), max(e.at)
  into jobs, ended, events, last_position, last_at
  from ledger.events e
  where e.job_id >= look_at_partition.born_from and e.job_id < look_at_partition.born_to;
  pin := case
    when greatest(ledger.born(born_to), last_at) > clock_timestamp() - retention then 'it is too young'
    when ended < jobs then format('%s of its jobs have not ended', jobs - ended)
    when exists (select from ledger.cursors c where c.generation = 'next') then 'a rebuild is under way'
    when exists (
      select from ledger.cursors c
      where c.high < last_position or exists (
        select from unnest(c.old_holes + c.young_holes) as hole
        join ledger.events e on e.position >= lower(hole) and e.position < upper(hole)
          and e.job_id >= look_at_partition.born_from and e.job_id < look_at_partition.born_to
      )
    ) then 'a projection has not read all of it'
    when exists (
      select from ledger.parked p
      where p.job_id >= look_at_partition.born_from and p.job_id < look_at_partition.born_to
    ) then 'a projection has set aside a job of it'
    when exists (select from ledger.schedules s where s.next_run_at < ledger.born(born_to))
      then 'a schedule has yet to decide ticks of that week'
  end;
end
$$;

-- Takes a partition out of the log and lets it stand aside as ledger.retired; returns why not, where it must stay.
-- Nobody but the owner can detach or drop anything, so this is the application's only way, and it judges for itself. It
-- asks for the log's exclusive lock a few times, each time for a moment: whoever appends waits no longer than that.
-- `detach … concurrently` would not wait at all, but is only for owners and outside transactions.
create function ledger.retire_partition(name text, retention interval) returns text language plpgsql
  security definer set search_path = pg_catalog, pg_temp as $$
declare
  week record;
  since bigint;
begin
  if retention < interval '24 hours' then
    raise exception 'a retention of % is too short', retention
      using errcode = 'invalid_parameter_value', hint = 'Keep events for 24 hours at least.';
  end if;
  select * into week from ledger.look_at_partition(name, retention);
  if week.pin is not null then
    return week.pin;
  end if;
  if to_regclass('ledger.retired') is not null then
    return 'another one stands aside';
  end if;
  for attempt in 1..20 loop
    begin
      perform set_config('lock_timeout', '50ms', true);
      execute format('alter table ledger.events detach partition ledger.%I', name);
      exit;
    exception when lock_not_available then
      if attempt = 20 then
        return 'an open transaction reads or writes the log';
      end if;
    end;
    perform pg_sleep(0.1);
  end loop;
  execute format('select coalesce(max(position), 0) from ledger.%I', name) into since;
  if since <> week.last_position or exists (select from ledger.cursors c where c.generation = 'next') then
    raise exception 'partition % has changed while it was looked at', name using errcode = 'serialization_failure';
  end if;
  execute format('alter table ledger.%I rename to retired', name);
  execute format('grant select on ledger.retired to %I', session_user);
  insert into ledger.retirements as r (partition, born_from, born_to, jobs, events, last_at)
  values (name, week.born_from, week.born_to, week.jobs, week.events, week.last_at)
  on conflict (partition) do update  -- a week that had left came back with a late tick
  set jobs = r.jobs + excluded.jobs, events = r.events + excluded.events,
      last_at = greatest(r.last_at, excluded.last_at), retired_at = clock_timestamp(), dropped_at = null;
  return null;
end
$$;

-- Drops what stands aside.
create function ledger.drop_retired() returns void language sql
  security definer set search_path = pg_catalog, pg_temp as $$
  drop table if exists ledger.retired;
  update ledger.retirements set dropped_at = clock_timestamp() where dropped_at is null;
$$;

revoke execute on function ledger.retire_partition(text, interval), ledger.drop_retired() from public;

create or replace function ledger.grant_application(role name) returns void language plpgsql as $$
begin
  execute format('grant usage on schema ledger to %I', role);
  execute format('grant select on all tables in schema ledger to %I', role);
  execute format('grant insert (job_id, version, kind, priority, schema_version, queue, actor, data, body, meta) '
                 'on ledger.events to %I', role);
  execute format('grant usage on sequence ledger.event_positions to %I', role);
  execute format('grant insert on ledger.audit to %I', role);
  execute format('grant execute on function ledger.retire_partition(text, interval), ledger.drop_retired() '
                 'to %I', role);
  execute format('grant insert, update, delete on ledger.cursors, ledger.rebuild_shares, ledger.parked, '
                 'ledger.workers, ledger.idempotency_keys, ledger.schedules, ledger.pauses, ledger.api_keys, '
                 'ledger.notes to %I', role);
  -- Read models are made, swapped and dropped by the projector: it owns them.
  execute format('grant usage, create on schema ledger_read, ledger_next to %I', role);
end
$$;

-- What a projection folds as it keeps up: the events of one read, by position. In one snapshot it gives the same events
-- to every statement. The planner inlines it. `late` are holes that were filled, `parked` are jobs whose events this
-- projection cannot fold. The births are those of all jobs: a bound on them here, true of every row, would make the
-- planner read the whole of a partition's key.
create or replace function ledger.events_in(
  born_from uuid, born_to uuid, low bigint, high bigint, late bigint[], holes int8multirange, parked uuid[]
) returns table (
  "position" bigint, at timestamptz, job_id uuid, version int, kind ledger.event_kind, priority smallint, queue text,
  actor text, data json, meta json
) language sql stable as $$
  select e.position, e.at, e.job_id, e.version, e.kind, e.priority, e.queue, e.actor, e.data, e.meta
  from ledger.events e
  where e.position > low and e.position <= high and e.job_id <> all (parked)
  union all
  select e.position, e.at, e.job_id, e.version, e.kind, e.priority, e.queue, e.actor, e.data, e.meta
  from ledger.events e
  where e.position = any (late) and e.job_id <> all (parked)
$$;

-- What a projection folds in a rebuild: whole lives, of the jobs born in a range of ids, as far as they were on record
-- when the rebuild was planned. `holes` are positions that another read will bring. The planner inlines it too.
create function ledger.events_born_in(
  born_from uuid, born_to uuid, low bigint, high bigint, late bigint[], holes int8multirange, parked uuid[]
) returns table (
  "position" bigint, at timestamptz, job_id uuid, version int, kind ledger.event_kind, priority smallint, queue text,
  actor text, data json, meta json
) language sql stable as $$
  select e.position, e.at, e.job_id, e.version, e.kind, e.priority, e.queue, e.actor, e.data, e.meta
  from ledger.events e
  where e.job_id >= born_from and e.job_id <= born_to
    and e.position > low and e.position <= high and not e.position <@ holes and e.job_id <> all (parked)
$$;
