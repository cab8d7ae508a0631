"""The handlers of an application, for commands that were told where they are."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from shardq.cli.output import printed_apart
from shardq.errors import ConfigurationError
from shardq.handler import Handler
from shardq.supervisor.code.handlers import load_handlers


def handlers_of(modules: Sequence[str]) -> Mapping[str, type[Handler[Any]]]:
    """The handlers of `MODULE` or `MODULE:Handler` by their names. Modules are looked for in the working directory,
    too. Raises what `load_handlers` raises.
    """
    if not modules:
        return {}
    with suppress(FileNotFoundError):  # a deployment may have removed it
        if (here := os.getcwd()) not in sys.path:
            sys.path.insert(0, here)
    with printed_apart():
        return load_handlers(modules)


def handler_of(name: str, modules: Sequence[str]) -> type[Handler[Any]]:
    """The handler `module/Handler` of these modules. Raises `ConfigurationError` where they do not have it."""
    found = handlers_of(modules)
    if name not in found:
        raise ConfigurationError(
            f"{', '.join(modules)} has no handler {name}, only {', '.join(found)}: name its module with --app"
        )
    return found[name]
