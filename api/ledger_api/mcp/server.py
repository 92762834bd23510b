"""The protocol side: the official SDK's server, which lists the tools and hands their calls to threads.

While it serves, stdin and stdout belong to the protocol: whatever else is written to stdout goes to stderr.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp_types import CallToolResult, ListToolsResult, TextContent, ToolAnnotations
from mcp_types import Tool as OfferedTool

from ledger_api.mcp.calls import refusal
from ledger_api.mcp.tools import TOOLS
from ledger_api.problems import Problem, not_found

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcp_types import CallToolRequestParams

    from ledger_api.mcp.calls import Answer, Calls
    from ledger_api.mcp.tools import Tool

INSTRUCTIONS = (
    "Ledger runs background jobs and keeps the whole history of each. Look with list_queues, list_jobs and list_dlq; "
    "get_job_events says everything that happened to a job, who did it and why. A failed call answers with a problem: "
    "`code` says what kind, `detail` what to do, `errors` every bad argument. Give a reason with what you change."
)


def serve(calls: Calls, *, read_only: bool) -> None:
    """Serve one client on stdin and stdout until it closes them."""
    anyio.run(_serve, server(calls, read_only=read_only))


def server(calls: Calls, *, read_only: bool) -> Server[Any]:
    """Return a server that offers the tools, or only those that read."""
    offered = {name: tool for name, tool in TOOLS.items() if tool.is_reading or not read_only}

    async def list_tools(_context: Any, _params: Any) -> ListToolsResult:
        return ListToolsResult(tools=list(_described(offered.values())))

    async def call_tool(_context: Any, params: CallToolRequestParams) -> CallToolResult:
        tool = offered.get(params.name)
        if tool is None:
            return _result(refusal(params.name, _not_offered(params.name)))
        return _result(await anyio.to_thread.run_sync(calls.answer, tool, params.arguments or {}))

    return Server(
        "ledger",
        version=version("jobledger"),
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def _serve(made: Server[Any]) -> None:
    async with stdio_server() as (incoming, outgoing):
        await made.run(incoming, outgoing, made.create_initialization_options())


def _described(tools: Iterable[Tool]) -> Iterable[OfferedTool]:
    for tool in tools:
        hints = ToolAnnotations(
            read_only_hint=tool.is_reading, destructive_hint=tool.destructive, open_world_hint=False
        )
        yield OfferedTool(name=tool.name, description=tool.description, input_schema=tool.schema(), annotations=hints)


def _not_offered(name: str) -> Problem:
    if name in TOOLS:
        return Problem("forbidden", f"{name} changes something, and this server was started with --read-only")
    return not_found(f"there is no tool {name}")


def _result(answer: Answer) -> CallToolResult:
    content = [TextContent(text=answer.text)]
    if answer.next_cursor is not None:
        content.append(TextContent(text=f"There is more: pass cursor={answer.next_cursor}"))
    return CallToolResult(content=list(content), is_error=answer.is_refusal)
