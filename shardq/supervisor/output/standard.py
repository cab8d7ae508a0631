"""Standard input, output and error: a process may be started without them, and modules may put any object in their
place.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import socket
import sys
from contextlib import suppress
from signal import Signals
from typing import IO, Any

from shardq.supervisor.output import outlet

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_missing() -> None:
    """Open each of the descriptors 0 to 2 that this process was started without, on /dev/null, and a stream on it.
    Otherwise the next file that is opened gets that number, and code writes to it by mistake.
    """
    _open_descriptors()
    for descriptor, (name, mode) in enumerate(_STREAMS):
        if getattr(sys, name) is None:
            setattr(sys, f"__{name}__", _open_stream(descriptor, name, mode))


def open_closed() -> None:
    """The same for what modules closed at their import. An object that a module put in a stream's place stays."""
    _open_descriptors()
    for descriptor, (name, mode) in enumerate(_STREAMS):
        with suppress(Exception):
            if getattr(sys, name).closed:
                _open_stream(descriptor, name, mode)


def _open_descriptors() -> None:
    for descriptor in range(len(_STREAMS)):
        with suppress(OSError):
            os.fstat(descriptor)
            continue
        opened = os.open(os.devnull, os.O_RDWR)
        os.dup2(opened, descriptor)  # which makes it inheritable, also where both are the same
        os.set_inheritable(descriptor, True)
        if opened != descriptor:
            os.close(opened)


def _open_stream(descriptor: int, name: str, mode: str) -> IO[Any]:
    stream = open(descriptor, mode, buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    setattr(sys, name, stream)
    return stream


def above_standard(made: socket.socket) -> socket.socket:
    """The socket, with a descriptor above 2. If an application has closed its standard descriptors, a new socket gets
    one of their numbers, and programs that it starts would take the socket for that stream.
    """
    if made.fileno() >= len(_STREAMS):
        return made
    with made:
        return socket.socket(fileno=fcntl.fcntl(made, fcntl.F_DUPFD_CLOEXEC, len(_STREAMS)))


def is_terminal(stream: Any) -> bool:
    """Whether the stream is a terminal. False for an object that cannot tell."""
    with suppress(Exception):
        return bool(stream.isatty())
    return False


def knows_codes(stream: Any) -> bool:
    """Whether the stream is a terminal on which a line can be rewritten."""
    return is_terminal(stream) and os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")


def dump_stacks_on(number: Signals) -> int:
    """Write the stacks of all threads to standard error at this signal. It is done below Python, so it works while
    native code holds the interpreter, and with any object in the place of `sys.stderr`. Returns the descriptor that the
    stacks are written to.
    """
    try:
        descriptor = os.dup(2)
    except OSError:
        descriptor = os.open(os.devnull, os.O_WRONLY)
    faulthandler.register(number, file=descriptor, all_threads=True, chain=False)
    return descriptor


def flush() -> list[Any]:
    """Write out what standard output and error hold, as far as their readers take it within a short time. Returns the
    streams that may still hold something.
    """
    return [stream for stream in (sys.stdout, sys.stderr) if not _flushed(stream)]


def forget(stream: Any) -> None:
    """In a forked child: empty the stream's buffer, a copy of the parent's, without writing it to the reader."""
    with suppress(Exception):
        descriptor = outlet.descriptor_of(stream)
        if descriptor < 0:
            return
        kept = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, len(_STREAMS))
        try:
            send_nowhere(descriptor)
            stream.flush()
        finally:
            os.dup2(kept, descriptor)
            os.close(kept)


def send_nowhere(descriptor: int) -> None:
    """Lead the descriptor to /dev/null from now on."""
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.dup2(nowhere, descriptor)
    finally:
        os.close(nowhere)


def let_go() -> None:
    """Called before the interpreter ends, which writes out what streams hold. Text that can no longer be written must
    not change the exit code, and a reader that takes none must not keep the process from its end.
    """
    for name in ("stdout", "stderr"):
        if not _let_go(getattr(sys, name)):
            setattr(sys, name, None)
        _let_go(getattr(sys, f"__{name}__"))  # an object that a module put in its place may write to it


def _let_go(stream: Any) -> bool:
    """Make sure that the interpreter can write the stream out without waiting. False: that cannot be done."""
    try:
        if outlet.flushed(stream):
            return True
        if (descriptor := outlet.descriptor_of(stream)) < 0:
            return False
        send_nowhere(descriptor)
        return True
    except Exception:
        return False


def _flushed(stream: Any) -> bool:
    try:
        return outlet.flushed(stream)
    except Exception:  # it is closed, or no stream, or its reader is gone
        return True
