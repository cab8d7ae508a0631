"""Writes text to standard output and standard error. A write that fails never ends the supervisor, and it never waits
long for one: a terminal may be closed, a pager may have left or be stopped, a disk may be full.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import Any

from shardq.supervisor.output.outlet import put
from shardq.supervisor.output.standard import send_nowhere
from shardq.text.printable import printable

#: Removes the line of a terminal that stands there without an end.
ERASE_LINE = "\r\x1b[K"

_NOBODY_READS = (errno.EPIPE, errno.EIO)


def tell(text: str, out: Any) -> None:
    """Write a line, if that can be done, and nothing in it that a terminal would act upon. `out` is a stream, or the
    object that a module put in its place.
    """
    _try(out, printable(text, keep="\n\t") + "\n")


def show(text: str, out: Any) -> None:
    """Write text that may be lost, such as the state of a bar, if the reader takes it at once. Ends no line."""
    _try(out, text, passing=True)


def _try(out: Any, text: str, *, passing: bool = False) -> None:
    try:
        put(out, text, passing=passing)
    except OSError as error:
        if error.errno in _NOBODY_READS:
            _give_up(out)
    except Exception:
        return  # it is closed, or no stream


def _give_up(out: Any) -> None:
    """Send the buffered text to /dev/null. Otherwise Python would try to write it again at the end of the process, and
    end with 120.
    """
    with suppress(Exception):
        send_nowhere(out.fileno())
