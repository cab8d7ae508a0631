"""The line between an embedding application and its supervisor: a socket with one JSON object a line, both ways.

The supervisor sends `{"serving": true}` once its first workers are there, `{"standby": URL}` while another supervisor
serves, or `{"error": TEXT, "code": N}` before it gives up. The application sends `{"workers": N}` to have so many
workers, and `{"stop": true}` to end the supervisor.

End of file says that the application is gone. It may not come while a child of the application lives, because the child
has the line as well. A child that Python code forked closes the line; one that C code forked does not. So the
supervisor watches the application's process, too.
"""

from __future__ import annotations

import json
import os
import select
import socket
from contextlib import suppress
from typing import Any
from weakref import WeakSet


class Control:
    """One end of the line. Made by `open`."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._application = -1
        self._news: select.epoll | None = None
        self._unfinished = b""
        self.ended = False
        """Whether the other side is gone, or asked for the end."""
        self.workers: int | None = None
        """How many workers the application asked for last."""

    @classmethod
    def open(cls, descriptor: int, application: int | None = None) -> Control:
        """The end of the line that this descriptor is. From now on no other program inherits it. A supervisor gives the
        pid of its application as well.
        """
        control = cls(socket.socket(fileno=descriptor))
        control._line.set_inheritable(False)
        control._line.setblocking(False)
        if application is not None:
            control._watch(application)
        _all.add(control)
        return control

    @property
    def descriptor(self) -> int:
        """Readable when there is something to hear."""
        return self._news.fileno() if self._news else self.line

    @property
    def line(self) -> int:
        """The descriptor of the line itself. A program that is executed in this process needs only this one."""
        return self._line.fileno()

    def tell(self, **message: Any) -> None:
        """Send a message. It is lost without an error if the other process is gone, or if the line is full."""
        with suppress(BrokenPipeError, ConnectionResetError, BlockingIOError):
            self._line.send(json.dumps(message).encode() + b"\n", socket.MSG_NOSIGNAL)

    def heard(self) -> list[dict[str, Any]]:
        """Messages that arrived since the last call; sets `ended`."""
        # First the death, then the messages: so none that the application sent before its death is missed.
        self.ended = self.ended or self._application_is_dead()
        *lines, self._unfinished = (self._unfinished + self._received()).split(b"\n")
        messages = [json.loads(line) for line in lines]
        for message in messages:
            self.workers = message.get("workers", self.workers)
            self.ended = self.ended or "stop" in message
        return messages

    def close(self) -> None:
        """Closing twice is fine."""
        self._line.close()
        if self._news:
            self._news.close()
        if self._application >= 0:
            os.close(self._application)
        self._application = -1

    def _watch(self, application: int) -> None:
        self._news = select.epoll()
        self._news.register(self._line, select.EPOLLIN)
        with suppress(OSError):  # without a descriptor for the process there is still the end of file
            self._application = os.pidfd_open(application)
            self._news.register(self._application, select.EPOLLIN)
        # Checked last: as long as this process is the application's child, no other process has the application's pid.
        self.ended = os.getppid() != application

    def _application_is_dead(self) -> bool:
        return self._news is not None and any(ready == self._application for ready, _ in self._news.poll(0))

    def _received(self) -> bytes:
        received = b""
        while True:
            try:
                more = self._line.recv(65536)
            except BlockingIOError:
                return received
            except ConnectionResetError:
                more = b""
            if not more:
                self.ended = True
                return received
            received += more


_all: WeakSet[Control] = WeakSet()


def _close_in_child() -> None:
    """The line is between two processes. If a third one kept it open, neither would see the end of the other."""
    for control in list(_all):
        # Code that closes descriptors it does not know may have closed one of this: the others are closed all the same.
        with suppress(OSError):
            control.close()


os.register_at_fork(after_in_child=_close_in_child)
