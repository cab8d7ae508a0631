"""What answers HTTP for metrics: requests that are whole, foreign, slow, too large and too many."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest

from shardq.metrics.hosts import is_own, own_names
from shardq.metrics.http import MOST_BYTES, MOST_CALLERS, Answer, Answerer, Request, parsed
from shardq.system.addresses import Address

#: Soon enough for a test; a caller that is in time needs none of it.
SOON_S, LATE_S = 0.2, 30.0


async def echoed(request: Request) -> Answer:
    return Answer(HTTPStatus.OK, f"{request.method} {request.path} {request.host}")


async def large(request: Request) -> Answer:
    return Answer(HTTPStatus.OK, "x" * 32_000_000)


@asynccontextmanager
async def answering(answerer: Answerer) -> AsyncIterator[int]:
    """The port at which it answers."""
    server = await asyncio.start_server(answerer.serve, "127.0.0.1", 0, limit=MOST_BYTES)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def said(port: int, request: bytes) -> bytes:
    """All that is answered to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(LATE_S):
        answer = await reader.read()
    writer.close()
    return answer


async def test_a_request_is_answered_and_the_connection_closed() -> None:
    async with answering(Answerer(echoed)) as port:
        answer = await said(port, b"GET /metrics?a=b HTTP/1.1\r\nHost: here\r\n\r\n")
    head, _, text = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close" in head
    assert text == b"GET /metrics here"


async def test_HEAD_gets_the_head_alone() -> None:  # noqa: N802
    async with answering(Answerer(echoed)) as port:
        answer = await said(port, b"HEAD / HTTP/1.1\r\nHost: here\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n")
    assert b"Content-Length: 11\r\n" in answer


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET / HTTP/2\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * MOST_BYTES + b"\r\n\r\n", 431),
    ],
)
async def test_what_is_no_request_is_refused(request_: bytes, status: int) -> None:
    async with answering(Answerer(echoed)) as port:
        assert (await said(port, request_)).startswith(f"HTTP/1.1 {status} ".encode())


async def test_a_caller_that_says_nothing_is_not_waited_for() -> None:
    async with answering(Answerer(echoed, SOON_S)) as port:
        assert (await said(port, b"GET / HTTP/1.1\r\nHost: he")).startswith(b"HTTP/1.1 408 ")


async def test_a_caller_that_takes_nothing_is_not_waited_for() -> None:
    answerer, ended = Answerer(large, SOON_S), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answerer.serve(reader, writer)
        ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=MOST_BYTES)
    with socket.create_connection(server.sockets[0].getsockname()) as caller:
        caller.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        await asyncio.wait_for(ended.wait(), LATE_S)
    server.close()


async def test_no_more_callers_than_some_are_answered_at_a_time() -> None:
    async with answering(Answerer(echoed, LATE_S)) as port:
        waiting = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST_CALLERS)]
        assert (await said(port, b"")).startswith(b"HTTP/1.1 503 ")
        with socket.create_connection(("127.0.0.1", port)) as caller:
            caller.sendall(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n")  # before the connection is accepted
            reader, writer = await asyncio.open_connection(sock=caller)
            assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
            writer.close()
        for _, writer in waiting:
            writer.close()


def test_the_first_lines_are_read() -> None:
    assert parsed(b"GET / HTTP/1.0\r\n\r\n") == Request("GET", "/", None)
    assert parsed(b"POST /a HTTP/1.1\r\nhOST:  b:1 \r\n\r\n") == Request("POST", "/a", "b:1")


# Names


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("localhost", True),
        ("LOCALHOST:9100", True),
        ("localhost.", True),
        ("metrics.here:9100", True),
        ("127.0.0.1:9100", True),
        ("10.1.2.3", True),
        ("[::1]:9100", True),
        ("[fe80::1]", True),
        ("evil.example", False),
        ("evil.example:9100", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("", False),
        ("[::1].evil.example", False),
        ("a@localhost", False),
    ],
)
def test_only_own_names_and_addresses_are_answered_to(host: str, own: bool) -> None:
    assert is_own(host, own_names(Address.parsed("metrics.here:9100"))) is own
