"""The floor: what routing, grouping, encoding, decoding and calling cost with no storage between them.

Pure msgspec in one process, each group of a call decoded as a whole: a queue in Python cannot do less.
"""

from __future__ import annotations

import time
from array import array

import msgspec

from bench.jobs import PER_CALL, REQUESTS, WARM_UP, Job, Nothing, jobs
from shardq import Route

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Job]).decode

Stored = tuple["array[int]", bytes]


def measure() -> dict[str, float]:
    requests, handler = jobs(), Nothing()
    for _ in range(WARM_UP // PER_CALL):
        _handle(handler, _register(requests))
    register_s = handle_s = 0.0
    for _ in range(REQUESTS // PER_CALL):
        start = time.perf_counter()
        stored = _register(requests)
        middle = time.perf_counter()
        _handle(handler, stored)
        register_s += middle - start
        handle_s += time.perf_counter() - middle
    return {
        "end_to_end_per_s": REQUESTS / (register_s + handle_s),
        "register_per_s": REQUESTS / register_s,
        "handle_per_s": REQUESTS / handle_s,
    }


def _register(requests: list[Job]) -> list[Stored]:
    groups: dict[Route, list[Job]] = {}
    for request, route in zip(requests, Nothing.route(*requests), strict=True):
        if route in groups:
            groups[route].append(request)
        else:
            groups[route] = [request]
    return [_framed(list(map(_encode, group))) for group in groups.values()]


def _framed(messages: list[bytes]) -> Stored:
    return array("I", map(len, messages)), b"".join(messages)


def _handle(handler: Nothing, stored: list[Stored]) -> None:
    for lengths, payload in stored:
        # 0xdd: MessagePack's array with a length of 4 bytes.
        handler.handle(*_decode(b"\xdd" + len(lengths).to_bytes(4, "big") + payload))
