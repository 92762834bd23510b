-- The log, what controls the processes around it, and the schemas of the read models.
-- Read models are not made here: they are folded from the log, and their own code makes them.

create schema if not exists ledger_read;
create schema if not exists ledger_next;

create type ledger.event_kind as enum (
  'scheduled',      -- (new), running -> scheduled
  'enqueued',       -- (new), scheduled, retrying, running -> ready
  'leased',         -- ready -> running
  'succeeded',      -- running -> succeeded
  'failed',         -- running -> failed, always followed by one of the next two
  'retried',        -- failed, dead -> retrying
  'dead_lettered',  -- failed, ready, running -> dead
  'cancelled',      -- scheduled, ready, retrying, running -> cancelled
  'discarded'       -- dead -> discarded
);

-- cache 1: a session that drew positions in advance would hold numbers below those others have already committed.
create sequence ledger.event_positions as bigint cache 1;

create table ledger.events (
  position bigint not null,
  at timestamptz not null default clock_timestamp(),
  job_id uuid not null,
  version int not null check (version > 0),
  kind ledger.event_kind not null,
  priority smallint not null check (priority between 0 and 3),
  schema_version smallint not null default 1,
  queue text not null check (queue <> ''),
  actor text not null check (actor <> ''),
  data json not null default '{}',
  body json,   -- the user's own JSON, byte for byte: the payload in the first event, the result in succeeded
  meta json,   -- correlation_id, causation_id, traceparent
  primary key (job_id, version)
) partition by range (job_id);

-- The xid comes first, then the position: readers rely on it to know when a gap can no longer be filled.
alter table ledger.events
  alter column position set default
    case when pg_current_xact_id() is not null then nextval('ledger.event_positions') end;

create index events_position on ledger.events (position);

comment on table ledger.events is 'Every transition of every job, append-only. The one source of truth.';
comment on column ledger.events.version is '1, 2, 3 … within one job; the primary key is the only concurrency control';
comment on column ledger.events.position is 'place in the whole log; becomes visible out of order, so read by cursor';

create function ledger.refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'the log is append-only: % on %.% is refused', tg_op, tg_table_schema, tg_table_name
    using errcode = 'insufficient_privilege', hint = 'Append an event that corrects the job instead.';
end
$$;

create trigger append_only before update or delete or truncate on ledger.events
  for each statement execute function ledger.refuse_change();

-- Lowest id a job born at this instant can have: 48 bits of milliseconds, the rest zero.
create function ledger.lowest_id(born timestamptz) returns uuid language sql stable strict as $$
  select (lpad(to_hex(floor(extract(epoch from born) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- Makes the partition of the week that holds `born`, unless it is there; true if it made one.
-- Built apart and attached, which locks out nobody who appends. Weeks begin on Monday, UTC.
create function ledger.ensure_partition(born timestamptz) returns boolean language plpgsql
  security definer set search_path = pg_catalog, pg_temp as $$
declare
  week timestamptz := date_trunc('week', born, 'UTC');
  name text := 'events_' || to_char(week at time zone 'UTC', 'IYYY"w"IW');
begin
  perform pg_advisory_xact_lock(hashtextextended('ledger.ensure_partition', 0));
  if to_regclass(format('ledger.%I', name)) is not null then
    return false;
  end if;
  execute format('create table ledger.%I (like ledger.events including defaults including constraints)', name);
  execute format('create trigger append_only before update or delete or truncate on ledger.%I '
                 'for each statement execute function ledger.refuse_change()', name);
  execute format('alter table ledger.events attach partition ledger.%I for values from (%L) to (%L)',
                 name, ledger.lowest_id(week), ledger.lowest_id(week + interval '7 days'));
  return true;
end
$$;

-- Makes the partitions from last week (ids may be a day old) to `weeks_ahead`; returns how many were missing.
create function ledger.ensure_partitions(weeks_ahead int) returns int language sql as $$
  select count(*) filter (where ledger.ensure_partition(now() + make_interval(weeks => week)))::int
  from generate_series(-1, weeks_ahead) as week
$$;

select ledger.ensure_partitions(8);

-- What a projection has to fold: the events of one read, of the jobs born in a range of ids. In one snapshot it gives
-- the same events to every statement. The planner inlines it. `late` are holes that were filled, `holes` are positions
-- that another read will bring, `parked` are jobs whose events this projection cannot fold.
create function ledger.events_in(
  born_from uuid, born_to uuid, low bigint, high bigint, late bigint[], holes int8multirange, parked uuid[]
) returns table (
  "position" bigint, at timestamptz, job_id uuid, version int, kind ledger.event_kind, priority smallint, queue text,
  actor text, data json, meta json
) language sql stable as $$
  select e.position, e.at, e.job_id, e.version, e.kind, e.priority, e.queue, e.actor, e.data, e.meta
  from ledger.events e
  where e.job_id >= born_from and e.job_id <= born_to
    and e.position > low and e.position <= high and not e.position <@ holes and e.job_id <> all (parked)
  union all
  select e.position, e.at, e.job_id, e.version, e.kind, e.priority, e.queue, e.actor, e.data, e.meta
  from ledger.events e
  where e.position = any (late) and e.job_id <> all (parked)
$$;

-- How far each projection has read, one row a generation. Moves in the transaction that applies what was read.
create table ledger.cursors (
  projection text not null,
  generation text not null check (generation in ('live', 'next')),
  version int not null,                            -- of the projection's code
  high bigint not null default 0,                  -- everything up to here has been read, but for the holes
  old_holes int8multirange not null default '{}',
  old_horizon bigint not null default 0,           -- xid; once every transaction below has ended, the old holes are void
  young_holes int8multirange not null default '{}',
  young_horizon bigint not null default 0,
  origin text not null default '',                 -- system identifier and timeline that the horizons belong to
  moved_at timestamptz not null default clock_timestamp(),
  primary key (projection, generation)
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- A rebuild folds the partitions apart; each row is one partition's share, so that it can be resumed.
create table ledger.rebuild_shares (
  projection text not null,
  partition text not null,
  born_from uuid not null,                         -- of the jobs that are left; rises as they are folded
  born_to uuid not null,
  total bigint not null,                           -- events to fold, for the progress bar
  folded bigint not null default 0,
  done boolean not null default false,
  primary key (projection, partition)
);

-- Jobs that a projection cannot fold: set aside with their later events, shown, and never in the way of the rest.
create table ledger.parked (
  projection text not null,
  job_id uuid not null,
  position bigint not null,                        -- of the event that could not be folded
  error text not null,
  parked_at timestamptz not null default clock_timestamp(),
  primary key (projection, job_id)
);

-- One heartbeat a worker process, judged by this database's clock only.
create table ledger.workers (
  id text primary key,
  hostname text not null,
  pid int not null,
  version text not null,
  queues text[] not null,
  concurrency int not null,
  running int not null default 0,
  started_at timestamptz not null default clock_timestamp(),
  heartbeat_at timestamptz not null default clock_timestamp(),
  stopping boolean not null default false
) with (fillfactor = 50);

-- An idempotency key is stored in the transaction of the append it stands for.
create table ledger.idempotency_keys (
  key text primary key,
  job_id uuid not null,
  fingerprint bytea not null,                      -- digest of type, payload and options as sent
  created_at timestamptz not null default clock_timestamp()
);
create index idempotency_keys_created_at on ledger.idempotency_keys (created_at);

-- Gives a role all that Ledger's processes need, and no more: it may append to the log through its parent table, in the
-- columns a writer may set, and never change, remove or place an event.
create function ledger.grant_application(role name) returns void language plpgsql as $$
begin
  execute format('grant usage on schema ledger to %I', role);
  execute format('grant select on all tables in schema ledger to %I', role);
  execute format('grant insert (job_id, version, kind, priority, schema_version, queue, actor, data, body, meta) '
                 'on ledger.events to %I', role);
  execute format('grant usage on sequence ledger.event_positions to %I', role);
  execute format('grant insert, update, delete on ledger.cursors, ledger.rebuild_shares, ledger.parked, '
                 'ledger.workers, ledger.idempotency_keys to %I', role);
  -- Read models are made, swapped and dropped by the projector: it owns them.
  execute format('grant usage, create on schema ledger_read, ledger_next to %I', role);
end
$$;
