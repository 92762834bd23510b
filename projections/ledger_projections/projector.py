"""The projector: a loop for the read models and one for dispatch, and an ear for the wake-up call.

Only dispatch is woken, for a worker waits at the other end; read models look by themselves two to four times a second,
and so fold many events at a time. A read model that an older version of the code has filled is rebuilt by a loop of its
own, while readers go on with the old one and the other read models with the log. Every loop waits for its servers: the
projector may start before them.
"""

from __future__ import annotations

from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING

import structlog
from psycopg.errors import InvalidSchemaName, UndefinedTable

from ledger.errors import Unavailable
from ledger.runtime.service import Loop, long_turn, run_until_signalled
from ledger.wake import Ear
from ledger_projections.builtin import PROJECTIONS
from ledger_projections.cursors import End
from ledger_projections.dispatch import Dispatcher
from ledger_projections.engine import Engine
from ledger_projections.rebuild import is_outdated, rebuild

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from ledger.runtime.database import Database
    from ledger.runtime.service import Service
    from ledger_projections.projection import Projection

log = structlog.get_logger()

DISPATCH_PAUSES = (timedelta(milliseconds=2), timedelta(milliseconds=40))
"""A caller's own transaction wakes nobody when it commits; it is picked up by looking. Its enqueue did wake us, and
from then on we look at growing intervals: a short transaction is picked up within milliseconds all the same."""
DISPATCH_LAZIEST = timedelta(milliseconds=250)
"""Between two looks when nobody has told us anything for ten seconds; reached little by little."""
READ_MODEL_PAUSE = timedelta(milliseconds=250)
"""A job that comes and goes between two looks costs one row, and a statement is planned once for all that has gathered.
A full batch is followed at once."""
READ_MODEL_PAUSE_AFTER_MUCH = timedelta(milliseconds=500)
"""While thousands of events come between two turns."""
READ_MODEL_GATHERS = timedelta(milliseconds=100)
"""After the first event for a while: most jobs come and go in this time."""
READ_MODEL_REST = timedelta(seconds=1)
"""While the dispatcher of this process looks for them."""
RENEWED_PAUSE = timedelta(hours=1)


class Prepared:
    """A service that makes ready what it needs in its first turn, and tries again until that works."""

    def __init__(self, service: Service, *preparations: Callable[[], None]) -> None:
        self.name = service.name
        self._service = service
        self._left = list(preparations)

    def run_once(self) -> bool:
        try:
            while self._left:
                self._left[0]()
                del self._left[0]
        except (UndefinedTable, InvalidSchemaName) as error:
            raise Unavailable("the database is not migrated; run `ledger db migrate`") from error
        return self._service.run_once()


class Renewed:
    """What is left to do once all read models are of this version of the code: nothing."""

    name = "renewal of read models"

    def run_once(self) -> bool:
        return False


class Projector:
    """All projections of one log, kept up to date. Any number may run; the others stand by."""

    def __init__(
        self,
        database: Database,
        redis_url: str,
        stop: threading.Event,
        projections: Sequence[Projection] = PROJECTIONS,
    ) -> None:
        self._redis_url = redis_url
        self._stop = stop
        end = End(self._grown)
        self.dispatcher = Dispatcher(database, redis_url, end=end)
        self._dispatch = _loop(
            Prepared(self.dispatcher, self.dispatcher.prepare), stop, DISPATCH_PAUSES, laziest=DISPATCH_LAZIEST
        )
        self._models = Engine(database, *projections, end=end)
        self._folding = Loop(
            Prepared(self._models, self._models.prepare),
            stop,
            shortest=READ_MODEL_REST,
            longest=READ_MODEL_REST,
            until_next=self._until_folding,
        )
        renewals = [lambda each=projection: self._renew(database, each) for projection in projections]
        self.loops = [
            self._dispatch,
            self._folding,
            _loop(Prepared(Renewed(), *renewals), stop, (RENEWED_PAUSE, RENEWED_PAUSE)),
        ]

    def run(self) -> bool:
        """Turn until `stop` is set, then let every turn end; False where one did not in time."""
        ear = Ear(self._redis_url, self._stop, self._look)
        ended = run_until_signalled(self.loops, self._stop)
        ear.close()
        self.dispatcher.close()
        return ended

    def _grown(self) -> None:
        if self._models.rests:
            self._folding.rouse()

    def _until_folding(self) -> float:
        if self._models.rests:
            return inf
        if self._models.gathers:
            return READ_MODEL_GATHERS.total_seconds()
        return (READ_MODEL_PAUSE_AFTER_MUCH if self._models.had_much else READ_MODEL_PAUSE).total_seconds()

    def _look(self) -> None:
        self.dispatcher.expect()
        self._dispatch.wake()

    def _renew(self, database: Database, projection: Projection) -> None:
        if is_outdated(database, projection):
            log.info("rebuilding for a new version", projection=projection.name, version=projection.version)
            with long_turn():
                done = rebuild(database, [projection], stop=self._stop)
            log.info("rebuilt" if done else "rebuild interrupted", projection=projection.name)


def _loop(
    service: Service,
    stop: threading.Event,
    pauses: tuple[timedelta, timedelta],
    laziest: timedelta | None = None,
) -> Loop:
    shortest, longest = pauses
    return Loop(service, stop, shortest=shortest, longest=longest, laziest=laziest)
