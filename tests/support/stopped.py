"""Outputs of a program whose reader stops taking what is written to them."""

from __future__ import annotations

import os
import pty
import select
import socket
import termios
import time
from collections.abc import Callable
from contextlib import suppress

from tests.support.tasks import LIMIT_S


class Output:
    """A pipe, a terminal or a socket. `theirs` is what a program writes to, and blocks as it does by default."""

    def __init__(self, mine: int, theirs: int, stop: Callable[[int], None], go_on: Callable[[int], None]) -> None:
        self._mine = mine
        self.theirs = theirs
        self._stop = stop
        self._go_on = go_on
        self.heard = b""

    def stop(self) -> None:
        """From now on nothing is taken, whichever process writes to it."""
        self._stop(self.theirs)

    def go_on(self) -> None:
        """Take again what is written, and all that was there: a socket has no room before three quarters are taken."""
        self._go_on(self.theirs)
        self.take_all()

    def hear(self, text: bytes) -> None:
        """Wait until this was written."""
        deadline = time.monotonic() + LIMIT_S
        while text not in self.heard:
            assert self._take(deadline - time.monotonic()), f"{text!r} was not to be heard in {self.heard[-4000:]!r}"

    def take_all(self) -> bytes:
        """What is there to read now."""
        while self._take(0.0):
            continue
        return self.heard

    def close(self) -> None:
        for descriptor in (self._mine, self.theirs):
            os.close(descriptor)

    def _take(self, timeout_s: float) -> bool:
        if not select.select((self._mine,), (), (), max(0.0, timeout_s))[0]:
            return False
        data = os.read(self._mine, 1 << 16)
        self.heard += data
        return bool(data)


def pipe() -> Output:
    mine, theirs = os.pipe()
    return Output(mine, theirs, _fill, _nothing)


def terminal() -> Output:
    """Stops as at Ctrl-S."""
    mine, theirs = pty.openpty()
    return Output(
        mine, theirs, lambda it: termios.tcflow(it, termios.TCOOFF), lambda it: termios.tcflow(it, termios.TCOON)
    )


def unix_socket() -> Output:
    """As a collector of logs gives it to a service."""
    mine, theirs = socket.socketpair()
    return Output(mine.detach(), theirs.detach(), _fill_socket, _nothing)


OUTPUTS = (pipe, terminal, unix_socket)


def _fill(pipe: int) -> None:
    """By a description of its own, which alone does not block."""
    own = os.open(f"/proc/self/fd/{pipe}", os.O_WRONLY | os.O_NONBLOCK)
    try:
        for size in (4096, 1):
            with suppress(BlockingIOError):
                while True:
                    os.write(own, b"." * (size - 1) + b"\n")
    finally:
        os.close(own)


def _fill_socket(descriptor: int) -> None:
    with socket.socket(fileno=os.dup(descriptor)) as theirs:
        for size in (4096, 1):
            with suppress(BlockingIOError):
                while True:
                    theirs.send(b"\n" * size, socket.MSG_DONTWAIT)


def _nothing(descriptor: int) -> None:
    """Reading is enough."""
