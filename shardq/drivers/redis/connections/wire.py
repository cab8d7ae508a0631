"""A connection to the server: commands out, replies in, in the same order.

It is a protocol of its own over `hiredis`: a call through `redis.asyncio` costs three times as much. A caller that is
cancelled leaves its reply to be read and dropped, so the next caller gets its own.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import hiredis

from shardq.drivers.redis.connections.address import ANSWER_S, Address

#: The kernel asks a peer that is silent whether it is there, also where no answer is due: after so many seconds, every
#: so many seconds, so many times. What was sent may be unconfirmed for so many milliseconds. Where a system has these.
_ALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 30_000}

#: Is given the answer to a command whose caller was cancelled.
Orphan = Callable[[Any], None]


class Disconnected(Exception):
    """The connection ended before the answer came. Whether the command was done is not known."""

    @classmethod
    def by(cls, error: hiredis.ProtocolError) -> Disconnected:
        """By what came, since it is no answer."""
        return cls(f"what is there speaks another protocol than Redis, or wants TLS ({error})")


class Wire(asyncio.Protocol):
    """One connection of one event loop. `heard` is given what comes without being asked for."""

    def __init__(self, heard: Callable[[Any], None] | None = None, answer_s: float = ANSWER_S) -> None:
        self._heard = heard
        self._reader = hiredis.Reader(notEnoughData=Ellipsis)
        self._waiting = deque[tuple[asyncio.Future[Any] | None, Orphan | None]]()
        self._transport: asyncio.Transport | None = None
        self._watch: asyncio.TimerHandle | None = None
        self.answers = 0
        """How often the server said something."""
        self.answer_s = answer_s
        self.lost = False
        self.copies: Any = None
        """See `copies`."""
        self.on_lost: Callable[[], None] | None = None
        self.on_silence: Callable[[], None] | None = None
        """Called at each `silence_s` for which an answer is due and none comes."""
        self.silence_s = float("inf")

    @classmethod
    async def to(cls, address: Address, heard: Callable[[Any], None] | None = None) -> Wire:
        """Raises `OSError` (`TimeoutError` too) and `hiredis.ReplyError`."""
        loop = asyncio.get_running_loop()

        def make() -> Wire:
            return cls(heard, address.answer_s)

        async with asyncio.timeout(address.connect_s):
            if address.path:
                name = "" if address.tls else None
                _, wire = await loop.create_unix_connection(make, address.path, ssl=address.tls, server_hostname=name)
            else:
                name = address.host if address.tls else None
                transport, wire = await loop.create_connection(
                    make, address.host, address.port, ssl=address.tls, server_hostname=name
                )
                _keep_alive(transport.get_extra_info("socket"))
            try:
                for words in address.greeting:
                    await wire.ask(packed(*words))
            except BaseException:
                wire.close()
                raise
        return wire

    async def ask(self, command: bytes) -> Any:
        """The answer. Raises `hiredis.ReplyError`, and `Disconnected`."""
        reply = await self.sent(command)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def sent(self, command: bytes, orphan: Orphan | None = None) -> asyncio.Future[Any]:
        """Send a command; the future gets its answer, an error too."""
        if self.lost or self._transport is None:
            raise Disconnected
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((future, orphan))
        self._transport.write(command)
        if self._watch is None:
            self._watch_answers()
        return future

    def sent_together(self, commands: Sequence[bytes]) -> list[asyncio.Future[Any]]:
        """The same of several, in one piece."""
        _, *others = commands
        loop = asyncio.get_running_loop()
        futures = [self.sent(b"".join(commands)), *(loop.create_future() for _ in others)]
        self._waiting.extend((future, None) for future in futures[1:])
        return futures

    def post(self, command: bytes) -> None:
        """Send a command whose answer does not matter."""
        if not self.lost and self._transport is not None:
            self._waiting.append((None, None))
            self._transport.write(command)

    def say(self, command: bytes) -> None:
        """Send a command that has no answer of its own: what it brings is heard."""
        if not self.lost and self._transport is not None:
            self._transport.write(command)

    @property
    def busy(self) -> bool:
        """Whether an answer is due."""
        return bool(self._waiting)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._end()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "abort")
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self.answers += 1
        try:
            self._take_replies()
        except hiredis.ProtocolError as error:
            self._end(Disconnected.by(error))
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._end()

    def _take_replies(self) -> None:
        while (reply := self._reader.gets()) is not Ellipsis:
            if self._heard and (isinstance(reply, hiredis.PushNotification) or not self._waiting):
                self._heard(reply)
                continue
            if not self._waiting:
                continue
            future, orphan = self._waiting.popleft()
            if future is not None and not future.done():
                future.set_result(reply)
            elif orphan:
                orphan(reply)

    def _watch_answers(self, silent_s: float = 0.0) -> None:
        span_s = min(self.answer_s - silent_s, self.silence_s)
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(span_s, self._check, self.answers, silent_s + span_s)

    def _check(self, answers: int, silent_s: float) -> None:
        self._watch = None
        if not self._waiting:
            return
        if answers != self.answers:
            silent_s = 0.0
        elif silent_s >= self.answer_s:
            self.close()
            return
        elif self.on_silence:
            self.on_silence()
        self._watch_answers(silent_s)

    def _end(self, reason: Disconnected | None = None) -> None:
        if self.lost:
            return
        self.lost = True
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        while self._waiting:
            future, _ = self._waiting.popleft()
            if future is not None and not future.done():
                future.set_result(reason or Disconnected())
        if self.on_lost:
            self.on_lost()


class PlainWire:
    """A connection that blocks its thread: for code without an event loop."""

    def __init__(self, address: Address, answer_s: float = ANSWER_S) -> None:
        """Raises `OSError` and `hiredis.ReplyError`."""
        self._reader = hiredis.Reader(notEnoughData=Ellipsis)
        self._socket = socket.socket(socket.AF_UNIX) if address.path else socket.socket()
        try:
            self._socket.settimeout(address.connect_s)
            if address.path:
                self._socket.connect(address.path)
            else:
                self._socket.close()
                self._socket = socket.create_connection((address.host, address.port), address.connect_s)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _keep_alive(self._socket)
            if address.tls:
                self._socket = address.tls.wrap_socket(self._socket, server_hostname=address.host)
            self._socket.settimeout(min(answer_s, address.answer_s))
            for words in address.greeting:
                self.ask(packed(*words))
        except BaseException:
            self.close()
            raise

    def ask(self, command: bytes) -> Any:
        """The answer. Raises `hiredis.ReplyError`, and `Disconnected`."""
        [reply] = self.ask_all(command)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def ask_all(self, *commands: bytes) -> list[Any]:
        """The answers to commands that are sent together, errors too. Raises `Disconnected`."""
        self.send(b"".join(commands))
        return [self.answer() for _ in commands]

    def send(self, commands: bytes) -> None:
        """Send commands, whose answers come one by one. Raises `Disconnected`."""
        try:
            self._socket.sendall(commands)
        except OSError as error:
            raise Disconnected from error

    def answer(self) -> Any:
        """The next answer, an error too. Raises `Disconnected`."""
        try:
            while (reply := self._reader.gets()) is Ellipsis:
                data = self._socket.recv(1 << 16)
                if not data:
                    raise Disconnected
                self._reader.feed(data)
        except hiredis.ProtocolError as error:
            raise Disconnected.by(error) from error
        except OSError as error:
            raise Disconnected from error
        return reply

    @property
    def descriptor(self) -> int:
        return self._socket.fileno()

    def say(self, command: bytes) -> None:
        """Send a command whose answer is heard; from then on nothing blocks. Raises `OSError`."""
        self._socket.sendall(command)
        self._socket.setblocking(False)

    def heard(self) -> None:
        """Drop what came. Raises `Disconnected`."""
        try:
            while data := self._socket.recv(1 << 16):
                del data
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError as error:
            raise Disconnected from error
        raise Disconnected

    def close(self) -> None:
        self._socket.close()

    def __del__(self) -> None:
        """The thread that used it ended."""
        self._socket.close()


def _keep_alive(its: socket.socket) -> None:
    """Let the kernel find out where the other side is gone without a word."""
    its.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _ALIVE.items():
        if hasattr(socket, name):
            its.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def packed(*words: bytes) -> bytes:
    """A command as the server reads it."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
