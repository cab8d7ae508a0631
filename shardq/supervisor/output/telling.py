"""Text on standard output and standard error, of which the supervisor never dies: a terminal may be closed, a pager
may have left, a disk may be full.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Any

_NOBODY_READS = (errno.EPIPE, errno.EIO)


def tell(text: str, out: Any, end: str = "\n") -> None:
    """Write the text at once, if that can be done. `out` is a stream, or whatever a module put in its place."""
    try:
        out.write(text + end)
        out.flush()
    except OSError as error:
        if error.errno in _NOBODY_READS:
            _give_up(out)
    except Exception:
        return  # it is closed, or no stream


def _give_up(out: Any) -> None:
    """Let what is buffered go nowhere, or Python would try again at the end of the process, and end it with 120."""
    with suppress(Exception):
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.dup2(nowhere, out.fileno())
        finally:
            os.close(nowhere)
