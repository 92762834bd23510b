"""Groups of commands that several rooms fill: each adds its own by an entry point, and is imported only when it is run.

The names of the entry points in the group `ledger.commands` are paths: `verify` is `ledger verify`, and `job.list` is
`ledger job list`.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from ledger.cli_output import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping


class RoomGroup(click.Group):
    """Commands given here, by `own` as `module:name`, or by other rooms under `prefix`."""

    def __init__(self, *args: Any, prefix: str = "", own: Mapping[str, str] = {}, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prefix = prefix
        self._own = own

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._places()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if (command := super().get_command(ctx, cmd_name)) is not None:
            return command
        place = self._places().get(cmd_name)
        return None if place is None else _load(place)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        # Click would load every command to see its summary; names are enough, and a shell does not wait.
        names = [CompletionItem(name) for name in self.list_commands(ctx) if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # While a shell completes, words may be wrong as yet, and nothing is to be said of them.
        is_word = bool(args) and not args[0].startswith("-") and not ctx.resilient_parsing
        if is_word and args[0] not in (known := self.list_commands(ctx)):
            near = difflib.get_close_matches(args[0], known, n=2)
            hint = f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def _places(self) -> Mapping[str, str]:
        """Return where the commands are that are not loaded yet, by name."""
        foreign = {
            name: point.value
            for point in entry_points(group="ledger.commands")
            if point.name.startswith(self._prefix) and "." not in (name := point.name.removeprefix(self._prefix))
        }
        return {**foreign, **self._own}


def _load(place: str) -> click.Command:
    module, _, attribute = place.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise Failure(f"{place} cannot be loaded: {error}") from error
