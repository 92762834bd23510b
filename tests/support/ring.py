"""The whole system in processes of its own: API, projector, scheduler and workers, on one database and one Redis."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from tests.support.api_process import ApiProcess, api_process
from tests.support.terminal import Terminal
from tests.support.working import ROOT, ledger_on, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger import Ledger

APP = "tests.support.ring_app:ledger"
BASE = "/api/v1"
READ_MODELS = ("/jobs", "/executions", "/queues", "/dlq")
TEMPO = {
    # What a crash left behind is healed while the test waits.
    "SCHEDULER_STALE_JOB_TIMEOUT": "2s",
    "WORKER_HEARTBEAT_INTERVAL": "500ms",
    "SCHEDULER_POLL_INTERVAL": "200ms",
}


class Ring:
    """A running system, and its doors: HTTP, the command line, and the client."""

    def __init__(self, ledger: Ledger, environment: dict[str, str], stack: ExitStack) -> None:
        self.ledger = ledger
        self._environment = environment
        self._stack = stack
        self._api: ApiProcess = stack.enter_context(api_process(**environment))

    def start(self, *arguments: str) -> Terminal:
        """Start a command that stays; it is killed at the end."""
        terminal = Terminal("-m", "ledger", *arguments, directory=ROOT, environment=self._environment)
        return self._stack.enter_context(terminal)

    def start_worker(self, *options: str) -> Terminal:
        return self.start("worker", APP, *options)

    def command(self, *arguments: str) -> Terminal:
        """Run a command to its end, which must be a good one."""
        with Terminal("-m", "ledger", *arguments, directory=ROOT, environment=self._environment) as terminal:
            assert terminal.wait() == 0, terminal.text
        return terminal

    def is_ready(self) -> bool:
        """Whether every read model is there."""
        return all(self._api.request("GET", BASE + path).status == 200 for path in READ_MODELS)

    def get(self, path: str, status: int = 200) -> Any:
        answer = self._api.request("GET", BASE + path)
        assert answer.status == status, answer.body
        return answer.json

    def post(self, path: str, body: Any, status: int = 201) -> Any:
        answer = self._api.post(BASE + path, body)
        assert answer.status == status, answer.body
        return answer.json

    def reached(self, job_id: str, state: str) -> dict[str, Any]:
        """Wait for the job to be in this state, and return it."""
        job = until(lambda: (found := self.get(f"/jobs/{job_id}"))["state"] == state and found)
        assert isinstance(job, dict)
        return job

    def kinds(self, job_id: str) -> list[str]:
        return [event["kind"] for event in self.get(f"/jobs/{job_id}/events")]


@contextmanager
def running(database: str, redis_url: str, **environment: str) -> Iterator[Ring]:
    """Start API, projector and scheduler, and wait until they answer; workers are the test's own business."""
    environment = TEMPO | {"DATABASE_URL": database, "REDIS_URL": redis_url, "API_WORKERS": "1"} | environment
    with ExitStack() as stack:
        ledger = stack.enter_context(ledger_on(database, redis_url))
        ring = Ring(ledger, environment, stack)
        ring.start("projector")
        until(ring.is_ready)
        ring.start("scheduler")
        yield ring
