"""T18: schemathesis plays the API after its own description: its examples, the edges of every schema, random and spoilt
requests, methods that a route does not have, and chains of requests that follow from each other.
"""

from __future__ import annotations

from collections import Counter

import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, StopReason, events, from_schema

from ledger import ids
from tests.support.contract import described, description

TAKEN = ["2xx", "3xx", 404, 409]
"""What a good request may meet."""


def may_also_meet(statuses: list[int], *operation_ids: str) -> dict:
    expected = {"expected-statuses": [*TAKEN, *statuses]}
    return {"include-operation-id": list(operation_ids), "checks": {"positive_data_acceptance": expected}}


CONFIG = {
    "seed": 1,
    "headers": {"Host": "127.0.0.1:8080"},
    # U+0000 is refused in every text, whatever its schema says; test_fuzz.py sends it.
    "generation": {"deterministic": True, "max-examples": 20, "database": "none", "allow-x00": False},
    "phases": {"stateful": {"max-steps": 5}},
    "checks": {
        "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx"]},
        "positive_data_acceptance": {"expected-statuses": TAKEN},
        "negative_data_rejection": {"expected-statuses": [400, 404, 405, 412, 413, 415, 422]},
        # Without keys there is nothing to ignore; test_openapi.py asks every operation with every scope.
        "ignored_auth": {"enabled": False},
    },
    "operations": [
        # What no schema can say: one member against another, the range of a duration, what an expression means.
        may_also_meet([422], "enqueueJob", "cancelJobs", "retryDeadLetters", "discardDeadLetters", "createSchedule"),
        # A cursor is opaque, and not every pair of parameters goes together.
        may_also_meet([400], "listJobs", "listJobEvents", "listDeadLetters", "listExecutions", "listJobExecutions",
                      "listSchedules", "getQueueStats"),
        # For the edges of entity tags, schemathesis takes off the quotes (400). An id may be the name of a route (405).
        may_also_meet([400, 405], "getJob", "getDeadLetter", "getSchedule"),
        may_also_meet([400, 405, 412], "cancelJob", "deleteJob", "retryJob", "runJobNow", "retryDeadLetter",
                      "discardDeadLetter", "deleteSchedule", "pauseSchedule", "resumeSchedule", "runScheduleNow"),
        may_also_meet([400, 405, 412, 422], "updateSchedule"),
        {
            # A bad job among the others is no bad request.
            "include-operation-id": ["enqueueJobs"],
            "checks": {
                "positive_data_acceptance": {"expected-statuses": [*TAKEN, 422]},
                "negative_data_rejection": {"expected-statuses": [207, 400, 404, 405, 413, 415, 422]},
            },
        },
    ],
}  # fmt: skip

schemathesis.openapi.format("ledger-duration", st.sampled_from(["90s", "PT90S", "1h30m", "61.5m", "PT1H"]))
schemathesis.openapi.format("ledger-job-id", st.builds(lambda: str(ids.mint())))


def played(app):
    """Play everything; return the failures of checks, the errors, the requests by phase and what ended it."""
    config = SchemathesisConfig.from_dict(CONFIG)
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app, config=config)
    failures, errors, requests, operations, end = {}, [], Counter(), set(), None
    for event in from_schema(schema).execute():
        match event:
            case events.ScenarioFinished():
                requests[event.phase.value] += len(event.recorder.interactions)
                operations |= {node.value.operation.label for node in event.recorder.cases.values()}
                failures |= failed(event)
            case events.NonFatalError() | events.FatalError():
                errors.append(str(event))
            case events.EngineFinished():
                end = event.stop_reason
            case _:
                pass
    return failures, errors, requests, operations, end


def failed(event) -> dict[tuple[str, str], str]:
    """Return one failure a kind and operation, with the request to send again."""
    return {
        (check.failure_info.failure.operation, type(check.failure_info.failure).__name__): (
            f"{check.failure_info.failure.message}\n{check.failure_info.code_sample}"
        )
        for checks in event.recorder.checks.values()
        for check in checks
        if check.status == Status.FAILURE
    }


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
def test_t18_no_request_is_answered_otherwise_than_described(api, refresh):
    refresh()
    failures, errors, requests, operations, end = played(api.app)
    assert not failures, "\n\n".join(f"{' '.join(kind)}: {text}" for kind, text in failures.items())
    assert errors == []
    assert end == StopReason.COMPLETED
    every = {f"{method.upper()} {path}" for method, path in described(description(api.app))}
    assert every - operations <= {"GET /api/v1/openapi.json"}, "it has read that one itself"
    assert all(requests[phase] > 30 for phase in ("examples", "coverage", "fuzzing", "stateful")), requests
