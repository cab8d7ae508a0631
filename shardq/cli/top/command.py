"""What `shardq top` does."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from importlib.util import find_spec

from shardq.cli.top.source import Source
from shardq.errors import ConfigurationError
from shardq.supervisor.output.standard import knows_codes

_INSTEAD = "`shardq status --watch` shows the same figures without it"


def top(options: argparse.Namespace) -> None:
    """Show the storage until the user quits. Raises `ConfigurationError` where the package for it is missing or where
    there is no terminal, and what a look raises.
    """
    if find_spec("textual") is None:
        raise ConfigurationError(f"top needs a package: pip install 'shardq[top]'; {_INSTEAD}")
    if not (knows_codes(sys.stdout) and knows_codes(sys.stdin)):
        raise ConfigurationError(f"top needs a terminal that knows escape codes; {_INSTEAD}")
    app = import_module("shardq.cli.top.app").Top(Source(options), read_only=options.read_only)
    app.run()
    if app.failure is not None:
        raise app.failure
