"""The tools, each one request to the HTTP API: what the API decides, answers and refuses, a tool does too.

The first thirteen keep the names and arguments that the tools of job-queue had.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ledger.job import RESTING
from ledger_api.executions import STATES as RUN_STATES
from ledger_api.mcp.arguments import (
    DEAD_LETTER_ID,
    DURATION,
    JOB_ID,
    LIMIT,
    OFFSET,
    PRIORITIES,
    QUEUE_NAME,
    QUEUES,
    REASON,
    SCHEDULE_ID,
    TIME,
    TYPES,
    Argument,
    Place,
    body,
    flag,
    mapping,
    path,
    query,
    text,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ledger_api.mcp.arguments import Schema

API = "/api/v1"


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    description: str
    method: str
    path: str
    arguments: tuple[Argument, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Members of the body, where the tool's own default is another one than the API's."""
    destructive: bool = False
    """It ends jobs or takes something away."""
    all_pages: bool = False

    @property
    def is_reading(self) -> bool:
        return self.method == "GET"

    @property
    def has_body(self) -> bool:
        return self.method == "POST"

    def schema(self) -> Schema:
        """Return the JSON Schema of the arguments."""
        return {
            "type": "object",
            "properties": {argument.name: argument.schema for argument in self.arguments},
            "required": [argument.name for argument in self.arguments if argument.required],
            "additionalProperties": False,
        }

    def names(self, place: Place) -> dict[str, str]:
        """Return the arguments at this place: under which name each is sent."""
        return {each.name: each.sent_as or each.name for each in self.arguments if each.place is place}


_PRIORITY = text("Inside a queue, higher ones go first.", enum=PRIORITIES, default="medium")
_METADATA = mapping("Labels, string to string.", {"type": "string"})
_MAX_RETRIES = whole("Retries after the first run: 3 means up to four runs.", 0, 1000, default=3)
_PAYLOAD = mapping("What the handler gets: any JSON object.")
_BULK = (
    body("dry_run", flag("Only count what matches. Pass false to change it.", default=True)),
    body("all", flag("Must be true for an empty filter, which matches every dead letter.", default=False)),
    body("limit", whole("How many to change in this call.", 1, 10_000, default=1000)),
    REASON,
)
_DEAD_FILTER = {
    "type": "object",
    "description": "Which dead letters; all members given must match.",
    "additionalProperties": False,
    "properties": {
        "ids": {"type": "array", "items": {"type": "string"}, "maxItems": 1000, "description": "These only."},
        "type": text("Of this job type."),
        "queue": text("In this queue."),
        "failed_after": text(f"Dead since after this time. {TIME}"),
        "failed_before": text(f"Dead since before this time. {TIME}"),
        "error_contains": text("Part of the error's type or message, in either case."),
    },
}

JOB_TOOLS = (
    Tool(
        "enqueue_job",
        "Make a background job. It is durable when this returns, and runs as soon as a worker of its queue is free, "
        "or after `delay` or at `scheduled_at`.",
        "POST",
        f"{API}/jobs",
        (
            body("type", text("Which handler runs it, such as email.send."), required=True),
            body("payload", _PAYLOAD),
            body("queue", text("Where it waits.", default="default")),
            body("priority", _PRIORITY),
            body("max_retries", _MAX_RETRIES),
            body("delay", text(f"Run after so long; not together with scheduled_at. {DURATION}")),
            body("timeout", text(f"Limit of one run; 5m unless the server says otherwise. {DURATION}")),
            body("scheduled_at", text(f"Run at a time; not together with delay. {TIME}")),
            body("metadata", _METADATA),
            body(
                "idempotency_key", text("Sent again, the same key and request make no second job.", maxLength=255)
            ),
        ),
    ),
    Tool("get_job", "Get a job as it is at this moment, with its result or last error.", "GET",
         f"{API}/jobs/{{job_id}}", (JOB_ID,)),
    Tool(
        "delete_job",
        "Cancel a job that has not ended, also a running one. Its history stays. The same as cancel_job.",
        "DELETE",
        f"{API}/jobs/{{job_id}}",
        (JOB_ID,),
        destructive=True,
    ),
    Tool(
        "list_jobs",
        "List jobs, newest first, without their payloads.",
        "GET",
        f"{API}/jobs",
        (
            query("state", text(f"Only in these states, comma-separated: {', '.join(RESTING)}.")),
            TYPES,
            QUEUES,
            query("priority", text(f"Only these priorities, comma-separated: {', '.join(PRIORITIES)}.")),
            query("worker_id", text("Only those that this worker is running.")),
            query("correlation_id", text("Only those that belong together under this id.")),
            query("schedule_id", text("Only those that this schedule made; its UUID.")),
            query("created_after", text(f"Only younger ones. {TIME}")),
            query("created_before", text(f"Only older ones. {TIME}")),
            query("order", text("By age.", enum=["desc", "asc"], default="desc")),
            LIMIT,
            query("cursor", text("Where the page before said the next one begins; only with the same filters.")),
        ),
    ),
    Tool(
        "get_job_events",
        "Get everything that ever happened to a job, in order, with who did it and why.",
        "GET",
        f"{API}/jobs/{{job_id}}/events",
        (JOB_ID,),
        all_pages=True,
    ),
    Tool(
        "cancel_job",
        "Cancel a job that has not ended; of a running one the handler is told, and its outcome is refused.",
        "POST",
        f"{API}/jobs/{{job_id}}/cancel",
        (JOB_ID, REASON),
        destructive=True,
    ),
    Tool("retry_job", "Give a dead job a new budget of retries and run it again.", "POST",
         f"{API}/jobs/{{job_id}}/retry", (JOB_ID, REASON)),
)  # fmt: skip

QUEUE_TOOLS = (
    Tool("list_queues", "List the queues with what is in each, and how long the oldest ready job waits.", "GET",
         f"{API}/queues"),
    Tool("get_queue_depth", "Get how many jobs are ready in a queue.", "GET",
         f"{API}/queues/{{name}}/depth", (QUEUE_NAME,)),
    Tool("get_queue_stats", "Get what is in a queue, and what went through it in the last hour and how fast.", "GET",
         f"{API}/queues/{{name}}/stats", (QUEUE_NAME,)),
    Tool("pause_queue", "Let nothing new start in a queue. What runs goes on, and jobs can still be enqueued.", "POST",
         f"{API}/queues/{{name}}/pause", (QUEUE_NAME, REASON)),
    Tool("resume_queue", "Let the jobs of a paused queue start again.", "POST",
         f"{API}/queues/{{name}}/resume", (QUEUE_NAME, REASON)),
)  # fmt: skip

DEAD_LETTER_TOOLS = (
    Tool("list_dlq", "List the dead jobs, the latest first, with the error each died of.", "GET", f"{API}/dlq",
         (LIMIT, OFFSET, TYPES, QUEUES)),
    Tool("get_dlq_job", "Get a dead job with its last error and traceback.", "GET",
         f"{API}/dlq/{{id_}}", (DEAD_LETTER_ID,)),
    Tool("retry_dlq_job", "Give a dead job a new budget of retries and run it again.", "POST",
         f"{API}/dlq/{{id_}}/retry", (DEAD_LETTER_ID,)),
    Tool("delete_dlq_job", "Give a dead job up for good. There is no way back; its history stays.", "DELETE",
         f"{API}/dlq/{{id_}}", (DEAD_LETTER_ID,), destructive=True),
    Tool(
        "retry_dlq",
        "Retry all dead jobs that match a filter. Call it first as it is, to see how many match; then with dry_run "
        "false. Repeat while `remaining` is over 0.",
        "POST",
        f"{API}/dlq/retry",
        (body("filter", _DEAD_FILTER, insisted=True), *_BULK),
        {"dry_run": True},
    ),
    Tool(
        "discard_dlq",
        "Give up for good all dead jobs that match a filter; there is no way back. Call it first as it is, to see how "
        "many match; then with dry_run false. Repeat while `remaining` is over 0.",
        "POST",
        f"{API}/dlq/discard",
        (body("filter", _DEAD_FILTER, insisted=True), *_BULK),
        {"dry_run": True},
        destructive=True,
    ),
)  # fmt: skip

SYSTEM_TOOLS = (
    Tool(
        "list_executions",
        "List runs of jobs, the latest started first: where, how long, with which error.",
        "GET",
        f"{API}/executions",
        (LIMIT, OFFSET, TYPES, query("state", text(f"Only these, comma-separated: {', '.join(RUN_STATES)}."))),
    ),
    Tool("get_job_executions", "List the runs of one job, the latest first.", "GET",
         f"{API}/executions/{{job_id}}", (path("job_id", "The job's id, a UUID."),), all_pages=True),
    Tool("get_stats", "Get the numbers of the last 24 hours: runs by outcome, dead letters, jobs by state.", "GET",
         f"{API}/stats"),
    Tool("health_check", "Say whether the system can serve, and which server is missing.", "GET", "/ready"),
)  # fmt: skip

SCHEDULE_TOOLS = (
    Tool("list_schedules", "List the schedules by name, with when each runs next.", "GET",
         f"{API}/schedules", all_pages=True),
    Tool(
        "create_schedule",
        "Have a job enqueued by a cron expression.",
        "POST",
        f"{API}/schedules",
        (
            body("name", text("Its name, which no other schedule has."), required=True),
            body("job_type", text("The type of the jobs."), required=True),
            body(
                "cron_expression",
                text("Five fields, six with seconds first, @hourly and its like, or @every 90s."),
                required=True,
            ),
            body("timezone", text("The IANA zone of the expression.", default="UTC")),
            body("payload", _PAYLOAD),
            body("queue", text("Where the jobs wait.", default="default")),
            body("priority", _PRIORITY),
            body("max_retries", _MAX_RETRIES),
            body("timeout", text(f"Limit of one run. {DURATION}")),
            body("metadata", _METADATA),
            body("is_active", flag("False to begin paused.", default=True)),
            body("catch_up", text("What of ticks missed while nothing ran.", enum=["skip", "once", "all"],
                                  default="once")),
            body("catch_up_window_seconds", whole("How old a missed tick may be.", 0, 2_592_000, default=86_400)),
            body("overlap", text("What while an earlier job has not ended.",
                                 enum=["allow", "skip", "cancel_previous"], default="allow")),
        ),
    ),
    Tool("delete_schedule", "Take a schedule away. The jobs it has made stay.", "DELETE",
         f"{API}/schedules/{{id}}", (SCHEDULE_ID,), destructive=True),
    Tool("pause_schedule", "Let a schedule make no more jobs until it is resumed.", "POST",
         f"{API}/schedules/{{id}}/pause", (SCHEDULE_ID,)),
    Tool("resume_schedule", "Let a paused schedule go on. What it missed is not made up for.", "POST",
         f"{API}/schedules/{{id}}/resume", (SCHEDULE_ID,)),
    Tool("run_schedule", "Make a job of a schedule now, besides those due.", "POST",
         f"{API}/schedules/{{id}}/run-now", (SCHEDULE_ID,)),
)  # fmt: skip

TOOLS = {tool.name: tool for tool in (*JOB_TOOLS, *QUEUE_TOOLS, *DEAD_LETTER_TOOLS, *SYSTEM_TOOLS, *SCHEDULE_TOOLS)}
