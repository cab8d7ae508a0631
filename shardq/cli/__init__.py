"""`shardq status|top|tubes|peek|why|stack|dead|park|pause|resume|audit|later|recurrent|results|check|move|take-over`,
`shardq destroy|metrics`: look from outside into a segment, also into one without a supervisor, or into a storage on a
server. The same as `python -m shardq`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from io import StringIO

from shardq.cli import output
from shardq.cli.parser import new_parser
from shardq.cli.verbs import URL_VARIABLE
from shardq.errors import ShardqError

#: Exit codes: the command was done; it could not be done; the command line cannot be used, as argparse has it.
OK, FAILED, UNUSABLE = 0, 1, 2
#: That of a command that Ctrl-C ended, as shells have it.
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = new_parser()
    if not (sys.argv[1:] if arguments is None else arguments):
        parser.print_help(sys.stderr)
        return UNUSABLE
    options = parser.parse_args(arguments)
    if "url" in options and not options.url:
        parser.error(f"which storage? give --url shm://NAME or redis://HOST:PORT, or set {URL_VARIABLE}")
    said = StringIO()
    try:
        try:
            with nullcontext() if _speaks_at_once(options) else redirect_stdout(said):
                options.run(options)
        finally:
            output.say(said.getvalue())
    except output.Interrupted as error:
        output.complain(f"shardq: {error}")
        return INTERRUPTED
    except ShardqError as error:
        output.complain(f"shardq: {error}")
        return FAILED
    except KeyboardInterrupt:
        output.complain("shardq: interrupted")
        return INTERRUPTED
    return OK


def _speaks_at_once(options: argparse.Namespace) -> bool:
    """Whether the command writes to standard output itself: a debugger, and views that are renewed."""
    return any(getattr(options, name, None) not in (None, False) for name in ("follow", "pdb", "top", "watch"))
