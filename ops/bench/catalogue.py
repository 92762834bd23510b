"""Who is measured, and in which modes; how each is used is in `peers/`."""

from __future__ import annotations

from dataclasses import dataclass, field

PLAIN, ASYNC, MANY, TWO = "plain", "async", "many", "two"

_THREADS = "threads, concurrency 10"
_LOOP = "event loop, concurrency 10"


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    title: str
    package: str
    """The distribution whose version is told."""
    store: str
    modes: dict[str, str] = field(default_factory=dict)
    """The mode and how the system is run in it."""
    python: tuple[int, int] = (3, 11)
    """The oldest it runs on."""
    services: tuple[tuple[str, ...], ...] = ()
    """Commands of `ledger` that run beside the worker all the time."""


PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "ledger", "Ledger", "jobledger", "Postgres and Redis",
            {
                PLAIN: f"{_THREADS}; all middleware, dispatcher and projections",
                ASYNC: _LOOP,
                MANY: "event loop, concurrency 500",
                TWO: "two processes of 5 threads",
            },
            services=(("projector",), ("scheduler",)),
        ),
        Peer("celery", "Celery", "celery", "Redis", {PLAIN: "prefork, 10 processes, results ignored"}),
        Peer("rq", "RQ", "rq", "Redis", {PLAIN: "worker pool of 10 SimpleWorkers"}),
        Peer("dramatiq", "Dramatiq", "dramatiq", "Redis", {PLAIN: _THREADS, TWO: "two processes of 5 threads"}),
        Peer("huey", "Huey", "huey", "Redis", {PLAIN: _THREADS, TWO: "two processes of 5 threads"}),
        Peer("arq", "arq", "arq", "Redis", {PLAIN: f"{_LOOP}, poll delay 10 ms"}),
        Peer("taskiq", "taskiq", "taskiq", "Redis Streams", {PLAIN: _LOOP, TWO: "two processes of 5 tasks"}),
        Peer("saq", "SAQ", "saq", "Redis", {PLAIN: _LOOP}),
        Peer("procrastinate", "Procrastinate", "procrastinate", "Postgres", {PLAIN: _LOOP}),
        Peer(
            "pgqueuer", "pgqueuer", "pgqueuer", "Postgres",
            {PLAIN: "event loop, batches of 5, cap 10", MANY: "event loop, batches of 100, no cap"},
        ),
        Peer("oban", "Oban for Python", "oban", "Postgres", {PLAIN: _LOOP}, (3, 12)),
    )
}  # fmt: skip

QUICK = ("ledger", "huey", "taskiq", "pgqueuer")
GROWN = ("ledger", "pgqueuer")
"""Whose costs are followed as they grow: ours, and the fastest of those that take jobs by SKIP LOCKED."""
