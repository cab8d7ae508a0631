"""Floors: bare lists on a server, without claims and acknowledgement: what a consumer has in hand is lost with it. Each
request is an element of its own, in one list or in a list for each thread, or each call is one element.

A consumer takes 128 elements, or one call, at a time, and blocks where there is none.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import cycle
from typing import Any

import msgspec
from redis import Redis

from bench.harness.contestant import Figures
from bench.harness.size import Size
from bench.load.jobs import CALL, THREADS, TOTALS, Job, Nothing, calls_of, numbered
from bench.load.percentiles import warm_percentiles_us
from bench.load.server import HOST, Server, server
from bench.rivals.consumer import consumer

_CONTEXT = multiprocessing.get_context("fork")
_KEY, _FLUSH = "list", b"flush"
_LISTS = [f"list-{thread}" for thread in range(THREADS)]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Job]).decode


def singles(size: Size, *, call: int) -> Figures:
    """A call is one RPUSH with an element for each request."""
    return _calls(size, call, lambda requests: map(_encode, requests), _serve_singles)


def routed(size: Size, *, call: int) -> Figures:
    """A call is one RPUSH for each of its threads, all of them in one pipeline."""
    total = size.count(TOTALS[call], call)
    warm = max(call, total // 10 // call * call)
    with server() as its, consumer(partial(_serve_routed, its.port, (warm, total))) as wait:
        _seconds_routed(its, wait, calls_of(call, warm))
        with its.measured(total) as spent:
            seconds = _seconds_routed(its, wait, calls_of(call, total))
        return {"end_to_end_per_s": total / seconds, **spent}


def blobs(size: Size, *, call: int) -> Figures:
    """A call is one RPUSH of one element."""
    return _calls(size, call, lambda requests: (_encode(requests),), _serve_blobs)


def wake_ups(size: Size, *, pings: int, pause_s: float) -> Figures:
    """One element after each pause, to a consumer that blocks: from before RPUSH to behind BLPOP."""
    count = size.count(pings)
    delays = _CONTEXT.RawArray("q", count)
    with server() as its, consumer(partial(_serve_pings, its.port, delays)) as wait:
        for number in range(count):
            time.sleep(pause_s)
            its.client.rpush(_KEY, b"%d %d" % (number, time.monotonic_ns()))
        its.client.rpush(_KEY, _FLUSH)
        wait()
    return warm_percentiles_us(delays)


def held(size: Size, *, call: int, total: int) -> Figures:
    """Bytes of the server for each element of a list."""
    count = size.count(total, call)
    with server() as its:
        before = its.used_bytes()
        for first in range(0, count, call):
            its.client.rpush(_KEY, *map(_encode, numbered(first, call)))
        each_bytes = (its.used_bytes() - before) / count
    payload_bytes = sum(len(_encode(request)) for request in numbered(0, count)) / count
    return {"bytes_per_message": each_bytes, "beyond_bytes": max(0.0, each_bytes - payload_bytes)}


def _calls(
    size: Size,
    call: int,
    elements: Callable[[list[Job]], Iterable[bytes]],
    serve: Callable[[int, Callable[[], None]], None],
) -> Figures:
    total = size.count(TOTALS[call], call)
    with server() as its, consumer(partial(serve, its.port)) as wait:
        _seconds_for(its, wait, map(elements, calls_of(call, total // 10)))  # to warm up
        with its.measured(total) as spent:
            seconds = _seconds_for(its, wait, map(elements, calls_of(call, total)))
        return {"end_to_end_per_s": total / seconds, **spent}


def _seconds_for(its: Server, wait: Callable[[], None], calls: Iterator[Iterable[bytes]]) -> float:
    push = its.client.rpush
    start = time.perf_counter()
    for elements in calls:
        push(_KEY, *elements)
    push(_KEY, _FLUSH)
    wait()
    return time.perf_counter() - start


def _seconds_routed(its: Server, wait: Callable[[], None], calls: Iterator[list[Job]]) -> float:
    start = time.perf_counter()
    for requests in calls:
        groups: dict[int, list[bytes]] = {}
        for request in requests:
            groups.setdefault(request.number % THREADS, []).append(_encode(request))
        pipeline = its.client.pipeline(transaction=False)
        for thread, elements in groups.items():
            pipeline.rpush(_LISTS[thread], *elements)
        pipeline.execute()
    wait()
    return time.perf_counter() - start


def _serve_routed(port: int, counts: tuple[int, ...], flushed: Callable[[], None]) -> None:
    client, handle, lists = Redis(HOST, port), Nothing().handle, cycle(_LISTS)
    for left in counts:
        empty = 0
        while left:
            found: Any = client.lpop(next(lists), CALL)
            if not found and (empty := empty + 1) < THREADS:
                continue
            empty, found = 0, found or [_popped(client, _LISTS)]
            handle(*_decode(b"\xdd" + len(found).to_bytes(4, "big") + b"".join(found)))
            left -= len(found)
        flushed()


def _serve_singles(port: int, flushed: Callable[[], None]) -> None:
    client, handle = Redis(HOST, port), Nothing().handle
    while True:
        found: Any = client.lpop(_KEY, CALL) or [_popped(client)]
        ends = found[-1] == _FLUSH
        if ends:
            found.pop()
        if found:
            # 0xdd: MessagePack's array with a length of 4 bytes.
            handle(*_decode(b"\xdd" + len(found).to_bytes(4, "big") + b"".join(found)))
        if ends:
            flushed()


def _serve_blobs(port: int, flushed: Callable[[], None]) -> None:
    client, handle = Redis(HOST, port), Nothing().handle
    while True:
        blob = _popped(client)
        if blob == _FLUSH:
            flushed()
        else:
            handle(*_decode(blob))


def _serve_pings(port: int, delays: Any, flushed: Callable[[], None]) -> None:
    client = Redis(HOST, port)
    while (ping := _popped(client)) != _FLUSH:
        now = time.monotonic_ns()
        number, sent_ns = map(int, ping.split())
        delays[number] = now - sent_ns
    flushed()


def _popped(client: Redis, lists: Sequence[str] = (_KEY,)) -> bytes:
    """The next element, as soon as there is one."""
    while True:
        found: Any = client.blpop([*lists], timeout=1)
        if found:
            element: bytes = found[1]
            return element
