"""The log cannot be changed: not by its owner in passing, and not at all by the role the processes run as."""

from __future__ import annotations

import os

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from ledger.ids import mint
from ledger.postgres import append_on
from tests.support.histories import first

CHANGES = {
    "update": "update {table} set actor = 'somebody else'",
    "update of nothing": "update {table} set actor = 'somebody else' where false",
    "delete": "delete from {table}",
    "truncate": "truncate {table}",
    "merge": "merge into {table} e using (select 1) s on true when matched then delete",
    "upsert": (
        "insert into {table} (job_id, version, kind, queue, priority, actor) "
        "select job_id, version, kind, queue, priority, 'me' from ledger.events "
        "on conflict (job_id, version) do update set actor = excluded.actor"
    ),
}


@pytest.fixture
def owner(database):
    with psycopg.connect(database, autocommit=True) as connection:
        append_on(connection, [first(mint()) for _ in range(3)])
        yield connection


@pytest.fixture
def application(owner):
    """A session of a role that has what `ledger.grant_application` gives and nothing else."""
    role = sql.Identifier(f"application_{os.urandom(4).hex()}")
    owner.execute(sql.SQL("create role {}").format(role))
    owner.execute("select ledger.grant_application(%s)", [role.as_string().strip('"')])
    owner.execute(sql.SQL("set role {}").format(role))
    yield owner
    owner.execute("reset role")
    owner.execute(sql.SQL("drop owned by {0}; drop role {0}").format(role))


def partition_of(connection):
    [name] = connection.execute("select distinct tableoid::regclass::text from ledger.events").fetchone()
    return name


def rows_of(connection):
    return connection.execute("select * from ledger.events order by job_id, version").fetchall()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("whole", [True, False], ids=["parent", "partition"])
def test_even_the_owner_is_refused(owner, change, whole):
    before = rows_of(owner)
    table = "ledger.events" if whole else partition_of(owner)

    with pytest.raises(InsufficientPrivilege, match="the log is append-only") as refusal:
        owner.execute(change.format(table=table))

    assert "Append an event" in refusal.value.diag.message_hint
    assert rows_of(owner) == before


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("whole", [True, False], ids=["parent", "partition"])
def test_the_application_is_refused_before_any_trigger(application, change, whole):
    table = "ledger.events" if whole else partition_of(application)

    with pytest.raises(InsufficientPrivilege, match="permission denied"):
        application.execute(change.format(table=table))


def test_a_partition_of_a_later_week_is_guarded_too(owner):
    owner.execute("select ledger.ensure_partition(now() + interval '50 weeks')")
    unguarded = owner.execute(
        "select c.oid::regclass from pg_inherits i join pg_class c on c.oid = i.inhrelid "
        "where i.inhparent = 'ledger.events'::regclass and not exists ("
        "select from pg_trigger t where t.tgrelid = c.oid and t.tgname = 'append_only' and t.tgenabled = 'O')"
    ).fetchall()

    assert unguarded == []


def test_the_application_appends_and_reads(application):
    job_id = mint()

    [recorded] = append_on(application, [first(job_id)])

    assert recorded.version == 1
    assert application.execute("select count(*) from ledger.events where job_id = %s", [job_id]).fetchone() == (1,)


@pytest.mark.parametrize("column", ["position", "at"])
def test_the_application_cannot_choose_its_place_in_the_log(application, column):
    value = {"position": "1", "at": "'2000-01-01'"}[column]
    statement = f"""
        insert into ledger.events ({column}, job_id, version, kind, queue, priority, actor)
        values ({value}, %s, 1, 'enqueued', 'q', 2, 'me')
    """

    with pytest.raises(InsufficientPrivilege, match="permission denied"):
        application.execute(statement, [mint()])


def test_the_application_cannot_append_past_the_parent(application):
    statement = f"""
        insert into {partition_of(application)} (job_id, version, kind, queue, priority, actor)
        values (%s, 1, 'enqueued', 'q', 2, 'me')
    """

    with pytest.raises(InsufficientPrivilege, match="permission denied"):
        application.execute(statement, [mint()])


@pytest.mark.parametrize(
    "statement",
    [
        "select setval('ledger.event_positions', 1)",
        "alter table ledger.events disable trigger append_only",
        "drop table ledger.events",
        "alter table ledger.events detach partition {partition}",
        "copy ledger.events (position, job_id) from stdin",
        "delete from ledger.schema_version",
    ],
)
def test_the_application_cannot_get_round_the_guards(application, statement):
    with pytest.raises(InsufficientPrivilege):
        application.execute(statement.format(partition=partition_of(application)))


@pytest.mark.parametrize(
    ("column", "value"),
    [("version", "0"), ("version", "-1"), ("priority", "4"), ("priority", "-1"), ("queue", "''"), ("actor", "''")],
)
def test_d56_the_table_itself_refuses_nonsense(owner, column, value):
    row = {"version": "1", "priority": "2", "queue": "'q'", "actor": "'me'"} | {column: value}
    statement = f"""
        insert into ledger.events (job_id, kind, {", ".join(row)}) values (%s, 'enqueued', {", ".join(row.values())})
    """

    with pytest.raises(psycopg.errors.CheckViolation):
        owner.execute(statement, [mint()])


def test_the_sequence_of_positions_hands_out_one_at_a_time(owner):
    """With a larger cache a session would hold positions below those that others have already committed."""
    assert owner.execute(
        "select seqcache, seqincrement, seqcycle from pg_sequence where seqrelid = 'ledger.event_positions'::regclass"
    ).fetchone() == (1, 1, False)


def test_a_transaction_has_its_xid_before_it_draws_a_position(owner):
    """The default takes the xid first, though nextval alone would need none yet."""
    with owner.transaction():
        owner.execute("select nextval('ledger.event_positions')")
        assert owner.execute("select pg_current_xact_id_if_assigned()").fetchone() == (None,)
    default = owner.execute(
        "select pg_get_expr(adbin, adrelid) from pg_attrdef "
        "where adrelid = 'ledger.events'::regclass and pg_get_expr(adbin, adrelid) like '%nextval%'"
    ).fetchone()[0]
    with owner.transaction():
        owner.execute(f"select {default}".encode())
        assert owner.execute("select pg_current_xact_id_if_assigned()").fetchone() != (None,)


def test_every_partition_draws_positions_as_the_parent_does(owner):
    """Whoever appends straight to a partition must not break the readers either."""
    defaults = owner.execute(
        "select distinct pg_get_expr(d.adbin, d.adrelid) from pg_attrdef d "
        "join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum and a.attname = 'position' "
        "where d.adrelid = 'ledger.events'::regclass "
        "or d.adrelid in (select inhrelid from pg_inherits where inhparent = 'ledger.events'::regclass)"
    ).fetchall()

    assert len(defaults) == 1
    assert "pg_current_xact_id" in defaults[0][0]
