-- Schedules, pauses, keys, notes, and the audit of what operators did to them; and two ways to read the log.

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

create or replace function ledger.grant_application(role name) returns void language plpgsql as $$
begin
  execute format('grant usage on schema ledger to %I', role);
  execute format('grant select on all tables in schema ledger to %I', role);
  execute format('grant insert (job_id, version, kind, priority, schema_version, queue, actor, data, body, meta) '
                 'on ledger.events to %I', role);
  execute format('grant usage on sequence ledger.event_positions to %I', role);
  execute format('grant insert on ledger.audit to %I', role);
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
