"""A floor: one pipe between two processes, each call one msgspec blob. It routes nothing and acknowledges nothing."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection

import msgspec

from bench.harness.contestant import Figures
from bench.harness.size import Size
from bench.load.jobs import TOTALS, Job, Nothing, calls_of

_CONTEXT = multiprocessing.get_context("fork")
_FLUSH = b""


def calls(size: Size, *, call: int) -> Figures:
    total = size.count(TOTALS[call], call)
    here, there = _CONTEXT.Pipe()
    consumer = _CONTEXT.Process(target=_consume, args=(there, here), daemon=True)
    consumer.start()
    there.close()
    _seconds_for(here, call, total // 10)  # to warm up
    seconds = _seconds_for(here, call, total)
    here.close()
    consumer.join()
    return {"end_to_end_per_s": total / seconds}


def _seconds_for(pipe: Connection, call: int, total: int) -> float:
    encode = msgspec.msgpack.Encoder().encode
    start = time.perf_counter()
    for requests in calls_of(call, total):
        pipe.send_bytes(encode(requests))
    pipe.send_bytes(_FLUSH)
    pipe.recv_bytes()
    return time.perf_counter() - start


def _consume(pipe: Connection, other_end: Connection) -> None:
    other_end.close()
    decode, handle = msgspec.msgpack.Decoder(list[Job]).decode, Nothing().handle
    while True:
        try:
            blob = pipe.recv_bytes()
        except EOFError:
            return
        if blob == _FLUSH:
            pipe.send_bytes(_FLUSH)
        else:
            handle(*decode(blob))
