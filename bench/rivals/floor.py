"""The floor of both halves: what encoding, decoding and calling cost with no storage between them.

Pure msgspec in one process: a queue in Python cannot do less.
"""

from __future__ import annotations

import time
from array import array

import msgspec

from bench.harness.contestant import Figures
from bench.harness.size import Size
from bench.load.jobs import Job, Nothing, calls_of
from shardq import Route

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Job]).decode


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
        # 0xdd: MessagePack's array with a length of 4 bytes.
        handle(*_decode(b"\xdd" + len(lengths).to_bytes(4, "big") + payload))
    return {"handle_per_s": count / (time.perf_counter() - start)}


def _register(requests: list[Job]) -> None:
    groups: dict[Route, list[Job]] = {}
    for request, route in zip(requests, Nothing.route(*requests), strict=True):
        if route in groups:
            groups[route].append(request)
        else:
            groups[route] = [request]
    for group in groups.values():
        _framed(list(map(_encode, group)))


def _framed(messages: list[bytes]) -> tuple[array[int], bytes]:
    return array("I", map(len, messages)), b"".join(messages)
