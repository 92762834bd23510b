"""An AI assistant's side of `ledger mcp`: the SDK's own client, over stdio, on a server started as a command."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from anyio.from_thread import start_blocking_portal
from mcp import Client, StdioServerParameters

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from anyio.from_thread import BlockingPortal
    from mcp_types import Tool

PATIENCE = 60.0


class Told(NamedTuple):
    """What a tool answered."""

    failed: bool
    texts: list[str]

    @property
    def json(self) -> Any:
        return json.loads(self.texts[0])


class Assistant:
    def __init__(self, portal: BlockingPortal, client: Client) -> None:
        self._portal, self._client = portal, client

    @property
    def server(self) -> tuple[str, str]:
        info = self._client.server_info
        assert info is not None
        return info.name, info.version

    def tools(self) -> dict[str, Tool]:
        return {tool.name: tool for tool in self._portal.call(self._client.list_tools).tools}

    def call(self, tool: str, **arguments: Any) -> Told:
        result = self._portal.call(self._client.call_tool, tool, arguments)
        return Told(bool(result.is_error), [content.text for content in result.content])

    def done(self, tool: str, **arguments: Any) -> Any:
        """Call a tool that is to succeed; return its JSON."""
        told = self.call(tool, **arguments)
        assert not told.failed, told.texts
        return told.json

    def refused(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool that is to fail; return the problem."""
        told = self.call(tool, **arguments)
        assert told.failed, told.texts
        assert told.json["type"] == f"urn:ledger:problem:{told.json['code']}"
        assert told.json["error"] == told.json["detail"]
        return told.json


@contextmanager
def assistant(directory: Path, *arguments: str, **environment: str) -> Generator[Assistant]:
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "ledger", "mcp", *arguments], env=environment, cwd=directory
    )
    client = Client(server, read_timeout_seconds=PATIENCE)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(client):
        yield Assistant(portal, client)
