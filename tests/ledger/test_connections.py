"""`connection=`: whatever carries the caller's transaction decides whether the job exists, down to its savepoints."""

from __future__ import annotations

from contextlib import closing, contextmanager, suppress

import django
import psycopg
import pytest
import sqlalchemy as sa
from django.conf import settings as django_settings
from psycopg import ClientCursor
from psycopg.rows import dict_row
from sqlalchemy.orm import Session

from ledger import IdempotencyConflict, JobNotFound, Ledger
from ledger.job import State
from ledger.runtime.database import sqlalchemy_url


@pytest.fixture(scope="module")
def app(module_database, module_redis_url):
    ledger = Ledger(database_url=module_database, redis_url=module_redis_url)
    yield ledger
    ledger.close()


@contextmanager
def psycopg_way(database):
    with psycopg.connect(database) as connection:
        yield connection, connection.transaction, connection.commit, connection.rollback


@contextmanager
def sqlalchemy_connection_way(database):
    engine = sa.create_engine(sqlalchemy_url(database), poolclass=sa.NullPool)
    with engine.connect() as connection:
        yield connection, connection.begin_nested, connection.commit, connection.rollback


@contextmanager
def sqlalchemy_session_way(database):
    engine = sa.create_engine(sqlalchemy_url(database), poolclass=sa.NullPool)
    with Session(engine) as session:
        yield session, session.begin_nested, session.commit, session.rollback


@contextmanager
def django_way(database):
    from django.db import connection, transaction  # noqa: PLC0415 — wants its settings first

    with django_database(database):
        connection.set_autocommit(False)
        yield connection, transaction.atomic, connection.commit, connection.rollback


@contextmanager
def django_database(url):
    """Django's default connection, on this database."""
    if not django_settings.configured:
        django_settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.postgresql"}}, USE_TZ=False)
        django.setup()
    from django.db import connection  # noqa: PLC0415

    parts = psycopg.conninfo.conninfo_to_dict(url)
    given = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    connection.close()
    connection.settings_dict.update({name: str(parts.get(key) or "") for name, key in given.items()})
    with closing(connection):
        yield connection


WAYS = pytest.mark.parametrize(
    "way", [psycopg_way, sqlalchemy_connection_way, sqlalchemy_session_way, django_way], ids=lambda way: way.__name__
)


@contextmanager
def undone(transaction):
    """Leave a transaction or savepoint by an error, as an application would."""
    with suppress(ZeroDivisionError), transaction:
        yield
        raise ZeroDivisionError


def exists(app, job_id) -> bool:
    try:
        app.get(job_id)
    except JobNotFound:
        return False
    return True


@WAYS
@pytest.mark.parametrize("commits", [True, False])
def test_the_callers_transaction_decides(app, module_database, way, commits):
    with way(module_database) as (connection, _, commit, rollback):
        job_id = app.enqueue("a", {"n": 1}, connection=connection)
        assert not exists(app, job_id), "seen before the commit"
        assert app.history(job_id, connection=connection)[0].version == 1
        commit() if commits else rollback()
        assert exists(app, job_id) is commits


@WAYS
def test_a_savepoint_rolled_back_takes_its_jobs_along(app, module_database, way):
    with way(module_database) as (connection, savepoint, commit, _):
        kept = app.enqueue("a", connection=connection)
        with undone(savepoint()):
            lost = app.enqueue("a", connection=connection)
            many = app.enqueue_many([{"type": "a"}, {"type": "b"}], connection=connection)
        with savepoint():
            kept_too = app.enqueue("a", connection=connection)
        commit()
        assert [exists(app, each) for each in (kept, kept_too, lost, *many)] == [True, True, False, False, False]


@WAYS
def test_the_verbs_join_as_well(app, module_database, way):
    job_id = app.enqueue("a")
    with way(module_database) as (connection, _, commit, rollback):
        assert app.cancel(job_id, connection=connection).state == State.CANCELLED
        rollback()
        assert app.get(job_id).state == State.READY
        app.cancel(job_id, reason="second thoughts", connection=connection)
        commit()
    assert app.get(job_id).state == State.CANCELLED


@WAYS
def test_an_idempotency_key_lives_and_dies_with_the_transaction(app, module_database, way):
    key = f"order-{way.__name__}"
    with way(module_database) as (connection, _, commit, rollback):
        app.enqueue("a", {"n": 1}, idempotency_key=key, connection=connection)
        rollback()
        made = app.enqueue("a", {"n": 2}, idempotency_key=key, connection=connection)
        assert app.enqueue("a", {"n": 2}, idempotency_key=key, connection=connection) == made
        commit()
    with pytest.raises(IdempotencyConflict):
        app.enqueue("a", {"n": 3}, idempotency_key=key)


def test_djangos_atomic_decides(app, module_database):
    with django_database(module_database) as connection:
        from django.db import transaction  # noqa: PLC0415

        with transaction.atomic():
            kept = app.enqueue("a", connection=connection)
            assert not exists(app, kept)
        with undone(transaction.atomic()):
            lost = app.enqueue("a", connection=connection)
        at_once = app.enqueue("a", connection=connection)
        assert [exists(app, each) for each in (kept, lost, at_once)] == [True, False, True]


@pytest.mark.parametrize("manner", [{"row_factory": dict_row}, {"cursor_factory": ClientCursor}, {"autocommit": True}])
def test_the_callers_manner_of_reading_does_not_matter(app, module_database, manner):
    with psycopg.connect(module_database, **manner) as connection:
        connection.adapters.register_loader("uuid", psycopg.types.string.TextLoader)
        job_id = app.enqueue("a", {"n": 1}, idempotency_key=f"by {manner}", connection=connection)
        (entry,) = app.history(job_id, connection=connection)
        assert (entry.job_id, entry.at.tzinfo is not None) == (job_id, True)
    assert exists(app, job_id)


@pytest.mark.parametrize("stranger", [object(), "postgresql://x", 7])
def test_what_cannot_be_joined_is_refused_by_name(app, stranger):
    with pytest.raises(TypeError, match=f"not builtins.{type(stranger).__name__}"):
        app.enqueue("a", connection=stranger)


def test_another_driver_is_refused(app):
    with sa.create_engine("sqlite://").connect() as connection, pytest.raises(TypeError, match=r"postgresql\+psycopg"):
        app.enqueue("a", connection=connection)
