"""Floors: what routing, encoding, decoding and calling cost with no storage between them, in pure Python and msgspec.

Each half is measured in one process, and both end to end with one pipe between two processes.
"""

from __future__ import annotations

import os
import struct
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import F_SETPIPE_SZ, fcntl
from functools import partial
from io import BufferedReader, FileIO

import msgspec

from bench.harness.contestant import Figures
from bench.harness.size import Size
from bench.load.jobs import TOTALS, Job, Nothing, calls_of
from bench.rivals.consumer import consumer
from shardq import Route

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Job]).decode
#: Before each frame in the pipe: how many messages it has, and how many bytes their lengths and payload have.
_HEAD = struct.Struct("=II")
#: A frame of no messages.
_FLUSH = _HEAD.pack(0, 0)
#: The most that Linux gives to a pipe of an ordinary user.
_PIPE_BYTES = 1 << 20


def calls(size: Size, *, call: int) -> Figures:
    """Route, group, encode, frame and write each call to a pipe in one process; read, decode and call the handler with
    each thread's part in another one.
    """
    total = size.count(TOTALS[call], call)
    with _pipe() as (source, target), consumer(partial(_serve, source)) as wait:
        _seconds_for(target, wait, call, total // 10)  # to warm up
        return {"end_to_end_per_s": total / _seconds_for(target, wait, call, total)}


def registering(size: Size, *, call: int, total: int) -> Figures:
    """Route, group, encode and join each call."""
    count = size.count(total, call)
    start = time.perf_counter()
    for requests in calls_of(call, count):
        _register(requests)
    return {"register_per_s": count / (time.perf_counter() - start)}


def handling(size: Size, *, batch: int, total: int) -> Figures:
    """Decode and call, a batch at a time, with its messages framed beforehand."""
    count = size.count(total, batch)
    frames = [_framed(list(map(_encode, requests))) for requests in calls_of(batch, 1024)]
    handle, batches = Nothing().handle, count // batch
    start = time.perf_counter()
    for number in range(batches):
        lengths, payload = frames[number % len(frames)]
        handle(*_decode(_array_of(len(lengths)) + payload))
    return {"handle_per_s": count / (time.perf_counter() - start)}


@contextmanager
def _pipe() -> Iterator[tuple[BufferedReader, FileIO]]:
    read, write = os.pipe()
    fcntl(write, F_SETPIPE_SZ, _PIPE_BYTES)
    with open(read, "rb", buffering=_PIPE_BYTES) as source, open(write, "wb", buffering=0) as target:
        yield source, target


def _seconds_for(target: FileIO, wait: Callable[[], None], call: int, total: int) -> float:
    start = time.perf_counter()
    for requests in calls_of(call, total):
        _write(target, requests)
    target.write(_FLUSH)
    wait()
    return time.perf_counter() - start


def _write(target: FileIO, requests: list[Job]) -> None:
    pieces = []
    for lengths, payload in _register(requests):
        heads = lengths.tobytes()
        pieces += (_HEAD.pack(len(lengths), len(heads) + len(payload)), heads, payload)
    target.write(b"".join(pieces))


def _serve(source: BufferedReader, flushed: Callable[[], None]) -> None:
    handle, read = Nothing().handle, source.read
    while True:
        count, size_bytes = _HEAD.unpack(read(_HEAD.size))
        if not count:
            flushed()
            continue
        body = read(size_bytes)
        handle(*_decode(_array_of(count) + body[4 * count :]))


def _register(requests: list[Job]) -> list[tuple[array[int], bytes]]:
    groups: dict[Route, list[Job]] = {}
    for request, route in zip(requests, Nothing.route(*requests), strict=True):
        if route in groups:
            groups[route].append(request)
        else:
            groups[route] = [request]
    return [_framed(list(map(_encode, group))) for group in groups.values()]


def _framed(messages: list[bytes]) -> tuple[array[int], bytes]:
    return array("I", map(len, messages)), b"".join(messages)


def _array_of(count: int) -> bytes:
    """The head of MessagePack's array with a length of 4 bytes."""
    return b"\xdd" + count.to_bytes(4, "big")
