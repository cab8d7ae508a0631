"""A process that has imported the package, and forks a Python program for each message.

A new interpreter takes a fifth of a second before it has imported shardq. A program that is forked here finds what it
would find there: a `__main__` of its own, its arguments, environment, directory, streams and descriptors, default
signals, and as its parent the process that sent the message. `tests.support.python` sends them.

It ends as an interpreter does: threads are joined, exit functions are called, its own modules and what only they hold
are destroyed, and its streams are flushed. What it has in common with the server is left as it is: the system would
copy that page by page while it is destroyed, which takes three times as long as the start.

It runs as a script, so that programs find no module of the tests imported.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import marshal
import os
import runpy
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import TextIOWrapper
from itertools import takewhile
from types import ModuleType
from typing import Any

#: The largest message, and the most descriptors that come with it.
MESSAGE_BYTES, DESCRIPTORS = 1 << 17, 64

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def serve(requests: socket.socket) -> None:
    """Fork a program for each message, until the other end of the socket is closed. Returns in the server alone."""
    # What the commands import, but not themselves: each of them is to be a `__main__`.
    runpy.run_module("shardq.supervise", run_name="imported")
    import shardq.cli  # noqa: F401

    # And what a driver imports at its first use, which takes as long as all else.
    with suppress(ImportError):
        import redis.asyncio  # noqa: F401

    # The folder of this script, and what each program has one of its own of.
    del sys.path[: (not sys.flags.safe_path) + len(_pythonpath())]
    gc.freeze()  # a collection in a program would copy all that was imported here
    shared = dict(sys.modules)
    while True:
        data, descriptors, _, _ = socket.recv_fds(requests, MESSAGE_BYTES, DESCRIPTORS)
        if not data:
            return
        if _forked():
            break
        for descriptor in descriptors:
            os.close(descriptor)
    requests.send(str(os.getpid()).encode())
    requests.close()
    end = _End(shared)
    atexit.register(end.come)  # the first is the last to be called
    try:
        _become(descriptors=descriptors, **marshal.loads(data))
        end.code = 0
    except SystemExit as leaving:
        end.code = leaving.code or 0
        raise


class _End:
    """The end of a program."""

    def __init__(self, shared: Mapping[str, ModuleType]) -> None:
        self._shared = shared
        self.code: object = None
        """What it exits with. None: something was raised."""

    def come(self) -> None:
        """Be the end, unless the interpreter has more to say: the code in words, or that a stream cannot be flushed."""
        if not isinstance(self.code, int):
            return
        for name in ("__main__", *takewhile(lambda name: name not in self._shared, reversed(sys.modules))):
            sys.modules.pop(name, None)
        gc.collect()
        with suppress(Exception):
            for stream in filter(None, (sys.stdout, sys.stderr)):
                if not stream.closed:
                    stream.flush()
            os._exit(self.code & 0xFF)


def _forked() -> bool:
    """Fork, and return whether this is the child. Its parent is the process that sent the message by then: an orphan
    goes to the nearest process above it that reaps orphans.
    """
    gate, opened = os.pipe()
    parent = os.fork()
    if parent:
        os.waitpid(parent, 0)
        os.close(gate)
        os.close(opened)
        return False
    if os.fork():
        os._exit(0)
    os.close(opened)
    os.read(gate, 1)  # until the parent is gone
    os.close(gate)
    return True


def _become(
    words: Sequence[str],
    directory: str,
    environment: dict[str, str],
    numbers: Sequence[int],
    group: int | None,
    new_session: bool,
    descriptors: Sequence[int],
) -> None:
    """Run the program: `-m MODULE` or `-c CODE` and its arguments. It gets the descriptors under these numbers."""
    _place(descriptors, numbers)
    if new_session:
        os.setsid()
    if group is not None:
        os.setpgid(0, group)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _open_streams()
    option, what, *arguments = words
    sys.orig_argv = [sys.executable, *sys.orig_argv[1:-2], *words]  # the options of this script are the program's
    sys.argv = [option, *arguments]
    main = sys.modules["__main__"] = ModuleType("__main__")
    if sys.version_info < (3, 14):  # later ones make it when it is asked for
        main.__annotations__ = {}
    here = [] if sys.flags.safe_path else [directory if option == "-m" else ""]
    sys.path[:0] = [*here, *_pythonpath()]
    if option == "-m":
        runpy._run_module_as_main(what)  # type: ignore[attr-defined]
    else:
        exec(compile(what, "<string>", "exec"), vars(main))


def _pythonpath() -> list[str]:
    return [os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]


def _place(descriptors: Sequence[int], numbers: Sequence[int]) -> None:
    """Give the descriptors these numbers, and close all others."""
    above = max(numbers) + 1
    held = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, above) for descriptor in descriptors]
    for descriptor, number in zip(held, numbers, strict=True):
        os.dup2(descriptor, number)
    for number in set(range(max(held) + 1)) - set(numbers):
        with suppress(OSError):
            os.close(number)


def _open_streams() -> None:
    """As a new interpreter does for the descriptors 0 to 2."""
    for number, (name, mode) in enumerate(_STREAMS):
        former: Any = getattr(sys, name)
        unbuffered = former.write_through  # by PYTHONUNBUFFERED
        buffer: Any = open(number, f"{mode}b", 0 if unbuffered and mode == "w" else -1, closefd=False)  # noqa: SIM115
        getattr(buffer, "raw", buffer).name = former.name
        stream: Any = TextIOWrapper(
            buffer,
            former.encoding,
            former.errors,
            newline="\n",
            line_buffering=not unbuffered and (name == "stderr" or os.isatty(number)),
            write_through=unbuffered,
        )
        stream.mode = mode
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the tests and to all that they started
    serve(socket.socket(fileno=int(sys.argv[1])))
