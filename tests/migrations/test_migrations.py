"""Migrating: from nothing, again, and by several at once; what it says of itself; and what it leaves behind."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from ledger_migrations import migrate as migrations
from ledger_migrations.migrate import migrate, status
from ledger_migrations.revisions import newest

from ledger.errors import Unavailable
from ledger.ids import mint
from ledger.postgres import append_on, histories_on
from tests.support.histories import first

OBJECTS = """
select 'column', table_schema, table_name, column_name, data_type, column_default, is_nullable
from information_schema.columns where table_schema like 'ledger%'
union all
select 'index', schemaname, tablename, indexname, indexdef, null, null from pg_indexes where schemaname like 'ledger%'
union all
select 'function', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid), md5(p.prosrc), null, null
from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname like 'ledger%'
union all
select 'trigger', null, tgrelid::regclass::text, tgname, tgenabled::text, null, null
from pg_trigger where not tgisinternal
union all
select 'schema', nspname, null, null, null, null, null from pg_namespace where nspname like 'ledger%'
order by 1, 2, 3, 4, 5
"""


def objects(url: str) -> list[tuple]:
    with psycopg.connect(url) as connection:
        return connection.execute(OBJECTS).fetchall()


def test_a_new_database_comes_to_the_newest_revision(empty_database):
    assert status(empty_database) == (None, newest())

    assert migrate(empty_database) == (None, newest())

    assert status(empty_database) == (newest(), newest())
    schemas = {name for kind, name, *_ in objects(empty_database) if kind == "schema"}
    assert schemas == {"ledger", "ledger_read", "ledger_next"}


def test_migrating_again_changes_nothing(empty_database):
    migrate(empty_database)
    before = objects(empty_database)

    assert migrate(empty_database) == (newest(), newest())
    assert objects(empty_database) == before


def test_several_migrators_at_once_do_the_work_once(empty_database):
    barrier = threading.Barrier(4)

    def run(_: int) -> tuple[str | None, str]:
        barrier.wait(timeout=30)
        return migrate(empty_database)

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(run, range(4)))

    assert sorted(outcomes, key=str) == [*[(newest(), newest())] * 3, (None, newest())]


def test_asking_for_the_status_changes_nothing(empty_database):
    status(empty_database)

    assert objects(empty_database) == []


def test_a_migration_that_fails_leaves_nothing_behind(empty_database, monkeypatch):
    def fail(*_):
        raise RuntimeError("power cut")

    upgrade = migrations.command.upgrade
    monkeypatch.setattr(migrations.command, "upgrade", lambda *given: (upgrade(*given), fail()))
    with pytest.raises(RuntimeError, match="power cut"):
        migrate(empty_database)

    assert objects(empty_database) == []
    monkeypatch.undo()
    assert migrate(empty_database) == (None, newest())


def test_the_log_outlives_a_migration(empty_database):
    """What is in the log stays as it is when the schema is migrated again."""
    migrate(empty_database)
    job_id = mint()
    with psycopg.connect(empty_database, autocommit=True) as connection:
        append_on(connection, [first(job_id)])
        before = histories_on(connection, [job_id])
        migrate(empty_database)

        assert histories_on(connection, [job_id]) == before


def test_a_server_that_is_not_there_is_unavailable():
    url = "postgresql://ledger:hunter2@127.0.0.1:1/ledger"
    for ask in (migrate, status):
        with pytest.raises(Unavailable, match=r"Postgres at 127\.0\.0\.1:1/ledger cannot be used") as refusal:
            ask(url)
        assert "hunter2" not in str(refusal.value)
