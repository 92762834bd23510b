"""What the document says about everything: the rules of all routes, the tags, the path parameters."""

from __future__ import annotations

from typing import Any

ABOUT = """\
Jobs are made, read and changed here. A job is its history: every change is an event in an append-only log.

* **Values.** Every member of a resource is always present, `null` where there is no value. Times are RFC 3339 in UTC
  with microseconds. Durations in requests are strings, Go style (`300ms`, `90s`, `1h30m`) or ISO-8601 (`PT90S`).
* **Bodies** are one JSON object without unknown or repeated members. Unknown query parameters are refused.
* **Errors** are RFC 9457 problems; `code` is for programs and never changes.
* **Versions.** The `ETag` of a job, dead letter or schedule is its version. `If-Match` changes it at that version only.
* **Lists** are arrays. The next page is in `Link` and `Next-Cursor`, which are absent on the last one.
* **Read models** serve lists and counts; `Ledger-Lag-Seconds` says how late they are. One job, and its events, are read
  from the log and are current at once.
* Every GET answers HEAD, and every route OPTIONS. Responses may gain members; ignore the ones you do not know.
"""

TAGS = {
    "jobs": "Making, reading and changing jobs.",
    "queues": "How much waits, for how long, and what goes through.",
    "dead letters": "The jobs that are dead now, and the two ways out.",
    "executions": "Every run of every job.",
    "schedules": "Jobs made by cron.",
    "operations": "Workers, projections and totals.",
    "probes": "For orchestrators and Prometheus.",
    "description": "This document.",
}

_TEXT = {"type": "string", "minLength": 1}
_JOB_ID = {"type": "string", "format": "uuid", "examples": ["01980000-0000-7000-8000-000000000000"]}

PATH_PARAMETERS: dict[str, tuple[str, dict[str, Any]]] = {
    "jobs": ("The job's id. One that is not well formed names nothing: 404.", _JOB_ID),
    "job_id": ("The job's id.", _JOB_ID),
    "dlq": (
        "The id of the dead letter (`<job id>:<version>`, one death), or the job's id.",
        _TEXT | {"examples": ["01980000-0000-7000-8000-000000000000:3"]},
    ),
    "schedules": ("The schedule's id or name.", _TEXT | {"examples": ["nightly-report"]}),
    "name": (
        "The queue's name.",
        {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,49}$", "examples": ["mail"]},
    ),
}
"""Name of the parameter, or of the collection whose `{id}` it is -> what it is, and its schema."""
