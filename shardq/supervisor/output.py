"""Text on standard output and standard error, of which the supervisor never dies: a terminal may be closed, a pager
may have left, a disk may be full.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TextIO

_NOBODY_READS = (errno.EPIPE, errno.EIO)


def tell(text: str, out: TextIO | None, end: str = "\n") -> None:
    """Write the text at once, if that can be done."""
    if out is None:
        return
    try:
        out.write(text + end)
        out.flush()
    except OSError as error:
        if error.errno in _NOBODY_READS:
            _give_up(out)
    except ValueError:
        return  # it is closed


def _give_up(out: TextIO) -> None:
    """Let what is buffered go nowhere, or Python would try again at the end of the process, and end it with 120."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.dup2(nowhere, out.fileno())
        finally:
            os.close(nowhere)
