"""Writing to a pipe or socket whose reader may be gone: an error here, and never a signal.

Programs for the command line often give SIGPIPE its default back, which ends a process that writes to a pipe without a
reader. That is meant for their output, not for the bell of a worker that died, or of a supervisor that executes itself
anew.
"""

from __future__ import annotations

import os
import signal

from shardq.system.signals import handler_of


def write(descriptor: int, data: bytes) -> int:
    """As `os.write`. Raises `BrokenPipeError`. Sends this process no SIGPIPE, however that is handled in it."""
    if handler_of(signal.SIGPIPE) == signal.SIG_IGN:
        return os.write(descriptor, data)
    former = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    waits_already = signal.SIGPIPE in signal.sigpending()
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
        return os.write(descriptor, data)
    except BrokenPipeError:
        if not waits_already:
            signal.sigtimedwait({signal.SIGPIPE}, 0)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
