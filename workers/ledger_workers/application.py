"""Finding an application: `module:attribute` names its Ledger, as seen from the working directory."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from ledger.client import Ledger
from ledger.errors import InvalidSettings


def load(name: str) -> Ledger:
    """Import the module and return its Ledger; raise InvalidSettings, saying what to do, where there is none."""
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise _refusal(f"{name!r} does not name an application; write module:attribute, such as myapp.jobs:ledger")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        hint = f"run from the directory that holds {module_name.partition('.')[0]!r}, or install it"
        raise _refusal(f"there is no module {error.name!r} in {here}; {hint}") from error
    found = getattr(module, attribute, None)
    if not isinstance(found, Ledger):
        ledgers = [key for key, value in vars(module).items() if isinstance(value, Ledger)]
        hint = f"did you mean {module_name}:{ledgers[0]}?" if ledgers else f"make one: {attribute} = Ledger()"
        raise _refusal(f"{module_name} has no Ledger called {attribute!r}; {hint}")
    return found


def _refusal(message: str) -> InvalidSettings:
    return InvalidSettings([message])
