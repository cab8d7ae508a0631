"""The Python stacks of another process, as it writes them itself, below Python: also while native code keeps the
interpreter.

A process that tells its stacks keeps a file in memory, to which its C code writes at a signal. The command `shardq
stack` opens that file through /proc, sends the signal, and reads once the signal was dealt with. The signal is URG: a
process that does not listen to it ignores it, so a question that comes too early or too late does no harm.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import re
import signal
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

SIGNAL = signal.SIGURG
#: How many seconds processes that run are waited for, all together.
PATIENCE_S = 2.0

_NAME = "shardq-stacks"
_BETWEEN_LOOKS_S = 0.002
#: More than the stacks of 100 threads, of which 100 calls each are written.
_MOST_BYTES = 16 << 20
_STOPPED, _GONE = b"Tt", b"ZX"


class Told(NamedTuple):
    """What came of asking a process."""

    text: str
    """Its stacks. Empty: it told none."""
    silent: str
    """Why it told none, or not all of it: the end of a sentence that begins with the process. Empty: it told all."""


ENDED = Told("", "has ended")


def keep() -> int:
    """Let others ask this process for its stacks. Returns the descriptor of the file, -1 where code of the application
    listens to the signal already. Raises `OSError`.
    """
    if signal.getsignal(SIGNAL) is not signal.SIG_DFL:
        return -1
    descriptor = os.memfd_create(_NAME, os.MFD_CLOEXEC)
    # The command that asks empties the file, and what is written next has to begin at its beginning.
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
    faulthandler.register(SIGNAL, file=descriptor, all_threads=True, chain=False)
    return descriptor


def part() -> None:
    """In a forked child: answer no question. Its parent's file is for its caller to close."""
    faulthandler.unregister(SIGNAL)


def ask(pids: Collection[int]) -> dict[int, Told]:
    """Ask processes of this pid namespace, all at once. A process that is stopped is sent nothing."""
    deadline, found, open_ = time.monotonic() + PATIENCE_S, dict[int, Told](), list[_Question]()
    try:
        for pid in pids:
            question = _Question(pid)
            try:
                question.open()
            except OSError as error:
                found[pid] = _refused(pid, error)
            else:
                open_.append(question)
        while open_:
            late = time.monotonic() >= deadline
            for question in open_[:]:
                told = question.look(late=late)
                if told:
                    found[question.pid] = told
                    open_.remove(question)
                    question.close()
            if open_:
                time.sleep(_BETWEEN_LOOKS_S)
    finally:
        for question in open_:
            question.close()
    return found


class _Question:
    """What one process is asked, and what it has answered so far."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = -1
        self._held_back = frozenset[str]()
        self._sent = False

    def open(self) -> None:
        """Open its file. Raises `OSError`; `FileNotFoundError` where the process keeps none."""
        self._descriptor = os.open(_file_of(self.pid), os.O_RDWR | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._descriptor)

    def look(self, *, late: bool) -> Told | None:
        """The answer; None: it is to come, which is not waited for if it is `late`."""
        try:
            return self._look(late=late)
        except OSError as error:
            return _refused(self.pid, error)

    def _look(self, *, late: bool) -> Told | None:
        state = _state(self.pid)
        if state in _STOPPED:
            return Told("", "is stopped, by a signal or a debugger, and tells its stack only once it goes on")
        if not self._sent and not self._begin():
            return Told("", f"was not asked within {PATIENCE_S:g} s: another command asks it") if late else None
        if os.fstat(self._descriptor).st_size and self._is_done():
            return Told(self._read(), "")
        if not late:
            return None
        why = f"did not tell its stack within {PATIENCE_S:g} s: "
        if state == b"D":
            return Told("", f"{why}it waits in the kernel, for a disk or the like")
        if self._held_back == _threads(self.pid):
            return Told("", f"{why}its code holds all signals back")
        return Told(self._read(), f"{why}the machine may be busy: ask again")

    def _begin(self) -> bool:
        """Send the signal, unless another command asks the same process just now."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not _listens(self.pid):
            raise FileNotFoundError
        os.ftruncate(self._descriptor, 0)
        self._held_back = _holding_back(self.pid)
        os.kill(self.pid, SIGNAL)
        self._sent = True
        return True

    def _is_done(self) -> bool:
        """Whether a process that has begun to write has written all: the thread in which it does so holds the signal
        back meanwhile.
        """
        return not _is_pending(self.pid) and _holding_back(self.pid) <= self._held_back

    def _read(self) -> str:
        text = os.pread(self._descriptor, _MOST_BYTES, 0).decode(errors="backslashreplace")
        os.ftruncate(self._descriptor, 0)
        return text


def _file_of(pid: int) -> str:
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):
            if os.readlink(f"{folder}/{name}").startswith(f"/memfd:{_NAME} "):
                return f"{folder}/{name}"
    raise FileNotFoundError


def _refused(pid: int, error: OSError) -> Told:
    if _has_ended(pid):
        return ENDED
    if isinstance(error, PermissionError):
        return Told("", "belongs to another user, who may ask it")
    if isinstance(error, FileNotFoundError):
        return Told("", "tells no stack: it has just begun, or its code listens to the signal URG")
    return Told("", f"cannot be asked: {error.strerror}")


def _has_ended(pid: int) -> bool:
    try:
        return _state(pid) in _GONE
    except (FileNotFoundError, ProcessLookupError):
        return True


def _state(pid: int) -> bytes:
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    return stat[stat.rindex(b")") + 2 :][:1]


def _listens(pid: int) -> bool:
    return _has(Path(f"/proc/{pid}/status").read_bytes(), "SigCgt")


def _is_pending(pid: int) -> bool:
    return _has(Path(f"/proc/{pid}/status").read_bytes(), "ShdPnd")


def _threads(pid: int) -> frozenset[str]:
    return frozenset(os.listdir(f"/proc/{pid}/task"))


def _holding_back(pid: int) -> frozenset[str]:
    """The threads that hold the signal back."""
    found = set[str]()
    for thread in _threads(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            if _has(Path(f"/proc/{pid}/task/{thread}/status").read_bytes(), "SigBlk"):
                found.add(thread)
    return frozenset(found)


def _has(status: bytes, field: str) -> bool:
    """Whether the signal is in a set of a process's status. The name that stands there may be of any bytes."""
    found = re.search(rb"^%s:\s*([0-9a-f]+)$" % field.encode(), status, re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> (SIGNAL - 1) & 1)
