"""Asks an operator before a command changes many things."""

from __future__ import annotations

import argparse
import sys

from shardq.cli.output import complain
from shardq.errors import ConfigurationError


def confirm(options: argparse.Namespace, what: str) -> None:
    """Ask whether `what` shall happen, unless `--yes` says so. Raises `ConfigurationError` where the operator does not
    say yes, and where there is no terminal to ask at.
    """
    if options.yes:
        return
    if not (_is_terminal(sys.stdin) and _is_terminal(sys.stderr)):
        raise ConfigurationError(f"{what}, and there is no terminal to ask at: add --yes; nothing is changed")
    complain(f"{what}. Go on? [y/N]")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigurationError("nothing is changed")


def _is_terminal(stream: object) -> bool:
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty())
