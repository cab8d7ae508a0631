"""Answers HTTP with one text: a request a connection, of which only GET and HEAD are done.

Nothing that a caller sends, or leaves out, is waited for without an end, and nothing of it is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import NamedTuple

#: Most bytes of what a caller sends, and for how long it may take to send that, and to take the answer.
MOST_BYTES, PATIENCE_S = 8192, 5.0
#: So many callers are answered at a time; others are sent away, once they have sent their request, or after so long.
MOST_CALLERS, _HURRY_S = 16, 0.25


class Answer(NamedTuple):
    status: HTTPStatus
    text: str
    kind: str = "text/plain; charset=utf-8"
    allowed: str = ""
    """Methods that may be used instead."""


class Request(NamedTuple):
    method: str
    path: str
    host: str | None


#: What is answered to a request.
Answering = Callable[[Request], Awaitable[Answer]]

_BAD = Answer(HTTPStatus.BAD_REQUEST, "this is no request of HTTP/1.1 with one Host\n")
_LATE = Answer(HTTPStatus.REQUEST_TIMEOUT, f"the request did not come within {PATIENCE_S:.0f} s\n")
_LARGE = Answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the request has more than {MOST_BYTES} bytes\n")
_MANY = Answer(HTTPStatus.SERVICE_UNAVAILABLE, "too many callers at a time: try again\n")


class Answerer:
    """Serves connections. `answering` says what is answered to a request that could be read."""

    def __init__(self, answering: Answering, patience_s: float = PATIENCE_S) -> None:
        self._answering = answering
        self._patience_s = patience_s
        self._callers = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection, and close it."""
        self._callers += 1
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError):
            writer.transport.abort()  # the caller has left, or does not take its answer
        finally:
            self._callers -= 1
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_one_too_many, with_text = self._callers > MOST_CALLERS, True
        # Also what is sent away is read: closed before that, a connection is reset, and the answer may be lost.
        answer = await self._read(reader, min(_HURRY_S, self._patience_s) if is_one_too_many else self._patience_s)
        if isinstance(answer, Request):
            with_text = answer.method != "HEAD"
            answer = _MANY if is_one_too_many else await self._answering(answer)
        elif is_one_too_many:
            answer = _MANY
        writer.transport.set_write_buffer_limits(0)  # so that `drain` waits until all is taken
        writer.write(encoded(answer, with_text=with_text))
        async with asyncio.timeout(self._patience_s):
            await writer.drain()

    async def _read(self, reader: asyncio.StreamReader, patience_s: float) -> Request | Answer:
        try:
            async with asyncio.timeout(patience_s):
                head = await reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            return _LATE
        except asyncio.LimitOverrunError:
            return _LARGE
        except asyncio.IncompleteReadError:
            return _BAD
        return parsed(head) or _BAD


def parsed(head: bytes) -> Request | None:
    """A request from its first lines. None: they are none."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    fields = [line.partition(":") for line in lines if line]
    hosts = [value.strip() for name, _, value in fields if name.lower() == "host"]
    if len(hosts) > 1:
        return None
    return Request(words[0], words[1].partition("?")[0], hosts[0] if hosts else None)


def encoded(answer: Answer, *, with_text: bool = True) -> bytes:
    """An answer as it is sent."""
    text = answer.text.encode()
    fields = {
        "Content-Type": answer.kind,
        "Content-Length": str(len(text)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Connection": "close",
    }
    if answer.allowed:
        fields["Allow"] = answer.allowed
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    status = f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n{head}\r\n".encode()
    return status + text if with_text else status
