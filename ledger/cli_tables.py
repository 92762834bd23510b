"""A table that fits its terminal: columns that matter less are left out, and named below, before words are broken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

UNBOUNDED = 10_000


class FittingTable(Table):
    """Leaves out columns of `less`, the first first, for as long as it is too wide. A pipe has room for all."""

    def __init__(self, *args: Any, less: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._less = list(less)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        left_out = self._narrow(console, options) if console.is_terminal else []
        yield from super().__rich_console__(console, options)
        if left_out:
            yield f"[dim]left out for want of room: {', '.join(left_out)}[/]"

    def _narrow(self, console: Console, options: ConsoleOptions) -> list[str]:
        left_out: list[str] = []
        room = options.update(max_width=UNBOUNDED)
        for name in self._less:
            if console.measure(self, options=room).maximum <= options.max_width:
                break
            self.columns = [column for column in self.columns if column.header != name]
            left_out.append(name)
        return left_out
