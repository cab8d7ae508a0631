"""The command line of `python -m shardq.supervise`: what may stand there, and the settings that it gives."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from shardq.environment import Flag
from shardq.errors import ConfigurationError
from shardq.settings import SupervisorSettings
from shardq.supervisor.exits import Exit
from shardq.supervisor.wishes.reload import PROBE, RESUME
from shardq.text.arguments import Parser
from shardq.version import __version__

_PROGRAM = "python -m shardq.supervise"
#: Columns of the usage that stands above a complaint.
_WIDTH = 80


def parser() -> argparse.ArgumentParser:
    """What reads the words of the command, those included that shardq itself gives to processes that it executes."""
    found = _Parser(
        prog=_PROGRAM,
        description="Serve handlers with worker processes over a shared-memory segment, or a Redis or Valkey server.",
        epilog="Exit codes: " + ", ".join(f"{code.value} {code.name.lower().replace('_', ' ')}" for code in Exit),
    )
    found.add_argument("--version", action="version", version=f"shardq {__version__}")
    found.add_argument("targets", nargs="+", metavar="MODULE[:Handler]", help="whose handlers to serve")
    prefix = SupervisorSettings.model_config["env_prefix"]
    for name, option in SupervisorSettings.option_names().items():
        field = SupervisorSettings.model_fields[name]
        flag: dict[str, Any] = {"metavar": option.upper()}
        if isinstance(field, Flag):
            flag = {"action": "store_const", "const": True}
            if field.may_be_none:
                flag = {"action": argparse.BooleanOptionalAction}
        elif name == "preload":
            flag = {"metavar": "MODULE", "action": "append"}
        found.add_argument(
            f"--{option.replace('_', '-')}", dest=name, help=f"Environment: {prefix}{option.upper()}", **flag
        )
    # Options that an application gives to the supervisor that it embeds.
    found.add_argument("--control", type=int, help=argparse.SUPPRESS)
    found.add_argument("--application", type=int, help=argparse.SUPPRESS)
    found.add_argument("--private", action="store_true", help=argparse.SUPPRESS)
    found.add_argument("--standby", action="store_true", help=argparse.SUPPRESS)
    found.add_argument("--main", help=argparse.SUPPRESS)
    # Options that a supervisor gives to a worker that it executes.
    found.add_argument("--as-worker", type=int, help=argparse.SUPPRESS)
    found.add_argument("--life", type=int, help=argparse.SUPPRESS)
    found.add_argument("--news", type=int, help=argparse.SUPPRESS)
    found.add_argument("--family", help=argparse.SUPPRESS)
    # Options that a supervisor gives to its probe of new code, and to itself when it executes itself anew.
    found.add_argument(PROBE, action="store_true", help=argparse.SUPPRESS)
    found.add_argument(RESUME, help=argparse.SUPPRESS)
    return found


def settings_of(options: argparse.Namespace) -> SupervisorSettings:
    """The settings of the command line; for those not given there, of the environment. Raises `ConfigurationError`."""
    given = {name: getattr(options, name) for name in SupervisorSettings.model_fields}
    given["preload"] = ",".join(options.preload) if options.preload else None
    try:
        return SupervisorSettings(**{name: value for name, value in given.items() if value is not None})
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}; `{_PROGRAM} --help` says what each may be") from error


class _Parser(Parser):
    """Reads what the options mean, and how wide the terminal is, only when it is asked for help."""

    def __init__(self, **options: Any) -> None:
        # Else argparse asks for the width at each option, by a module that imports all kinds of compression.
        super().__init__(**options, formatter_class=partial(argparse.HelpFormatter, width=_WIDTH))

    def format_help(self) -> str:
        self.formatter_class = argparse.HelpFormatter
        descriptions = SupervisorSettings.descriptions()
        for action in self._actions:
            if text := descriptions.pop(action.dest, ""):
                action.help = f"{text} {action.help}".replace("%", "%%")
        return super().format_help()
