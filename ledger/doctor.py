"""`ledger doctor`: looks at the installation as somebody would who was called at night, and says what to mend.

Each examination yields findings: fine, a warning (works, but mind this), or failing. It only reads, and where one
server is away it still examines the other.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import click
from psycopg.errors import Error as PostgresError
from psycopg.rows import dict_row

from ledger import settings as settings_
from ledger.cli_config import masked, sources
from ledger.cli_output import ExitCode, Installation, connect_postgres, emit, example, output_option, plain, table
from ledger.durations import in_words
from ledger.errors import InvalidSettings, Unavailable
from ledger.runtime import redis
from ledger.runtime.clock import SystemClock
from ledger.runtime.database import Database
from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.table import Table

Verdict = Literal["ok", "warning", "failing"]

_SERVER = statement("ledger", "doctor/select_server")
_CURSORS = statement("ledger", "doctor/select_cursors")
_OVERDUE = statement("ledger", "doctor/select_overdue_week")
_REWIND = statement("ledger", "doctor/select_rewind")
_PROCESSES = statement("ledger", "doctor/select_processes")

OLDEST_POSTGRES = 15
OLDEST_REDIS = 7
OLD_TRANSACTION = 60.0
LAG_LIMIT = 10_000
STILL_LIMIT = 30.0
HOLES_LIMIT = 10_000
SKEW_LIMIT = 1.0
RETENTION_LIMIT = 3600.0
REWIND_SHOWN = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    detail: str
    advice: str | None = None
    """What to do; None where all is well."""


@click.command(epilog=example("ledger doctor", "ledger doctor -o json"))
@output_option
@click.pass_context
def doctor(context: click.Context, output: str) -> None:
    """Examine the installation and say what to mend.

    Exit code 1 when something fails; warnings do not fail.
    """
    findings = list(examine())
    emit([asdict(finding) for finding in findings], output, _render)
    if any(finding.verdict == "failing" for finding in findings):
        context.exit(ExitCode.ERROR)


def examine() -> Iterator[Finding]:
    """Yield every finding; ends early only where the settings themselves make no sense."""
    try:
        yield from _settings()
        here = connect_postgres()
    except InvalidSettings as error:
        yield from (Finding("settings", "failing", problem, "correct or unset it") for problem in error.problems)
        return
    except Unavailable as error:
        yield Finding("servers", "failing", str(error), "run `ledger dev`, or set DATABASE_URL and REDIS_URL")
        return
    database = Database(here.database_url, size=1, name="ledger-doctor")
    try:
        yield from _guarded("postgres", lambda: _postgres(here, database))
    finally:
        database.close()
    yield from _guarded("redis", lambda: _redis(here))


def _guarded(name: str, examination: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from examination()
    except Unavailable as error:
        yield Finding(name, "failing", str(error), f"see that {name} runs and can be reached from here")
    except PostgresError as error:
        yield Finding(
            name, "failing", str(error).splitlines()[0], "run `ledger db migrate`; see this user's privileges"
        )


def _settings() -> Iterator[Finding]:
    found = sources()
    chosen = [f"{each.name}={each.value} ({each.source})" for each in found if each.source != "default"]
    yield Finding("settings", "ok", ", ".join(chosen) or "all by default")
    for advice in settings_.ignored(settings_.environment()):
        yield Finding("settings", "warning", advice, "unset it")


def _postgres(here: Installation, database: Database) -> Iterator[Finding]:
    with database.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        before = SystemClock().now()
        server = cursor.execute(_SERVER).fetchone() or {}
        after = SystemClock().now()
        yield from _server(server, masked(here.database_url))
        yield _skew("clock", server["now"] - (before + (after - before) / 2), "Postgres")
        migrations = _migrations(here)
        yield migrations
        if migrations.verdict == "failing":
            return
        yield from _cursors(cursor.execute(_CURSORS).fetchall())
        parameters = {"silent_after": here.settings.scheduler_stale_job_timeout}
        yield from _rewind(cursor.execute(_REWIND).fetchone())
        if (retention := here.settings.event_retention) is not None:
            yield _retention(cursor.execute(_OVERDUE, {"retention": retention}).fetchone(), retention)
        yield from _processes(cursor.execute(_PROCESSES, parameters).fetchone() or {})


def _server(server: dict[str, Any], url: str) -> Iterator[Finding]:
    major = server["version_number"] // 10_000
    yield _judged(
        "postgres", major >= OLDEST_POSTGRES, f"{server['version']} at {url}", f"use {OLDEST_POSTGRES} or newer"
    )
    yield _judged(
        "fsync", server["fsync"] == "on", f"fsync is {server['fsync']}", "turn it on: a power cut could ruin the log"
    )
    yield _judged(
        "full_page_writes",
        server["full_page_writes"] == "on",
        f"full_page_writes is {server['full_page_writes']}",
        "turn it on, unless the file system never tears a page",
        "warning",
    )
    yield _judged(
        "synchronous_commit",
        server["synchronous_commit"] != "off",
        f"synchronous_commit is {server['synchronous_commit']}",
        "turn it on: jobs that were acknowledged could be lost in a crash",
    )
    used, most = server["connections"], server["max_connections"]
    yield _judged(
        "connections",
        used < most * 0.8,
        f"{used} of {most} in use",
        "lower DATABASE_POOL_SIZE or raise max_connections",
        "warning",
    )
    oldest = server["oldest_transaction_seconds"] or 0.0
    yield _judged(
        "oldest transaction",
        oldest < OLD_TRANSACTION,
        f"open for {_words(oldest)}",
        "find it in pg_stat_activity: vacuum and the forgetting of holes wait for it, jobs do not",
        "warning",
    )


def _migrations(here: Installation) -> Finding:
    """Ask `ledger db status`: the migrations are another room's."""
    from ledger.dev import command, environment  # noqa: PLC0415 — pulls in the embedded servers

    env = environment(here, ("127.0.0.1", 0))
    done = subprocess.run(  # noqa: S603
        command("db", "status", "-o", "json"), env=env, capture_output=True, text=True, check=False
    )
    try:
        state = json.loads(done.stdout)
    except ValueError:
        return Finding("migrations", "failing", done.stderr.strip() or "unknown", "run `ledger db migrate`")
    detail = f"revision {state['revision'] or 'none'}, newest {state['newest']}"
    return _judged("migrations", state["up_to_date"], detail, "run `ledger db migrate`")


def _cursors(rows: list[dict[str, Any]]) -> Iterator[Finding]:
    if not rows:
        yield Finding("projections", "warning", "nothing has been projected yet", "start `ledger projector`")
    for row in rows:
        name = f"projection {row['projection']}" + (" (being built)" if row["generation"] == "next" else "")
        behind, holes = row["lag_events"], int(row["holes"])
        detail = f"{behind:,} events behind, {holes:,} holes, moved {_words(row['still_seconds'])} ago"
        if row["parked"]:
            advice = "see `ledger verify`: it names the events that cannot be folded"
            yield Finding(name, "failing", f"{row['parked']} jobs parked; {detail}", advice)
        elif behind and row["still_seconds"] > STILL_LIMIT:
            yield Finding(name, "failing", detail, "it stands still: see that `ledger projector` runs, and its log")
        elif behind > LAG_LIMIT or holes > HOLES_LIMIT:
            yield Finding(name, "warning", detail, "it is late: look at the load, and at the oldest transaction")
        else:
            yield Finding(name, "ok", detail)


def _rewind(row: dict[str, Any] | None) -> Iterator[Finding]:
    if row is not None and row["age_seconds"] < REWIND_SHOWN:
        detail = f"taken back in time, seen {_words(row['age_seconds'])} ago: {row['event']} was there and is gone"
        advice = "events after the backup, or the promoted standby's last, are lost: ask those who enqueued since then"
        yield Finding("log", "warning", detail, advice)


def _retention(row: dict[str, Any] | None, retention: timedelta) -> Finding:
    if row is None:
        return Finding("retention", "ok", "no week of the log is older than EVENT_RETENTION")
    detail = f"{row['partition']} ended {_words(row['age_seconds'])} ago"
    if row["unended"]:
        advice = "see `ledger job list` and `ledger dlq list`: retry, discard or cancel them, or let them be"
        return Finding("retention", "warning", f"{detail} and stays: {row['unended']:,} jobs have not ended", advice)
    overdue = row["quiet_seconds"] - retention.total_seconds()
    waits = overdue < RETENTION_LIMIT
    advice = "see that `ledger scheduler` runs with EVENT_RETENTION; its log says what keeps the week"
    return _judged("retention", waits, f"{detail} and may leave soon", advice, "warning")


def _processes(row: dict[str, Any]) -> Iterator[Finding]:
    days = row["days_ahead"] if row["days_ahead"] is not None else -1
    detail = f"{row['partitions']} partitions, the last begins in {days} days"
    yield _judged("partitions", days > 7, detail, "start `ledger scheduler`, which makes them weeks ahead")
    advice = "start `ledger worker APP`; jobs are kept until somebody runs them"
    yield _judged("workers", row["workers"] > 0, f"{row['workers']} alive", advice, "warning")


def _redis(here: Installation) -> Iterator[Finding]:
    client = redis.connect(here.redis_url, name="ledger-doctor")
    with redis.reachable(client):
        info: dict[str, Any] = client.info()  # pyright: ignore[reportAssignmentType] — the synchronous client's answer
        before = SystemClock().now()
        seconds, micros = client.time()  # pyright: ignore[reportGeneralTypeIssues]
        after = SystemClock().now()
    kind = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version") or info["redis_version"])
    place = f"{kind} {version} at {masked(here.redis_url)}"
    major = int(version.partition(".")[0])
    yield _judged("redis", major >= OLDEST_REDIS, place, f"use Redis {OLDEST_REDIS} or newer")
    policy, memory = info.get("maxmemory_policy", "unknown"), int(info.get("maxmemory", 0))
    yield _judged(
        "redis eviction",
        policy == "noeviction",
        f"maxmemory-policy is {policy}" + ("" if memory else ", without a limit of memory"),
        "set maxmemory-policy noeviction: evicted messages are healed, but jobs wait for that",
        "failing" if memory else "warning",
    )
    redis_now = datetime.fromtimestamp(int(seconds) + int(micros) / 1e6, UTC)
    yield _skew("redis clock", redis_now - (before + (after - before) / 2), "Redis")


def _skew(name: str, difference: timedelta, whose: str) -> Finding:
    seconds = abs(difference.total_seconds())
    detail = f"{whose} and this machine differ by {_words(seconds)}"
    return _judged(name, seconds < SKEW_LIMIT, detail, "synchronise the clocks (NTP); Postgres' decides", "warning")


def _judged(name: str, fine: bool, detail: str, advice: str, otherwise: Verdict = "failing") -> Finding:
    return Finding(name, "ok", detail) if fine else Finding(name, otherwise, detail, advice)


def _words(seconds: float) -> str:
    return in_words(timedelta(seconds=seconds))


_MARKS = {"ok": "[green]✔[/]", "warning": "[yellow]![/]", "failing": "[bold red]✘[/]"}


def _render(findings: list[dict[str, Any]]) -> Table:
    rows = table("", "Examined", "Finding")
    for finding in findings:
        advice = f"\n[yellow]→ {plain(finding['advice'])}[/]" if finding["advice"] else ""
        rows.add_row(_MARKS[finding["verdict"]], plain(finding["name"]), plain(finding["detail"]) + advice)
    return rows
