"""A floor: one byte through a pipe to the event loop of another process, and another byte back."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time

import uvloop

from bench.harness.contestant import Figures
from bench.harness.size import Size
from bench.load.percentiles import percentiles_us

_CONTEXT = multiprocessing.get_context("fork")


def calls(size: Size, *, total: int) -> Figures:
    asked, ask = os.pipe()
    answered, answer = os.pipe()
    other = _CONTEXT.Process(target=_answer, args=(asked, ask, answer), daemon=True)
    other.start()
    os.close(asked)
    delays_ns = uvloop.run(_ask(size.count(total), ask, answered))
    os.close(ask)
    other.join()
    return percentiles_us(delays_ns)


async def _ask(count: int, ask: int, answered: int) -> list[int]:
    loop, delays_ns = asyncio.get_running_loop(), []
    os.set_blocking(answered, False)
    for _ in range(count):
        arrived, start = loop.create_future(), time.monotonic_ns()
        loop.add_reader(answered, arrived.set_result, None)
        os.write(ask, b"!")
        await arrived
        loop.remove_reader(answered)
        os.read(answered, 1)
        delays_ns.append(time.monotonic_ns() - start)
    return delays_ns


def _answer(asked: int, other_end: int, answer: int) -> None:
    os.close(other_end)

    async def serve() -> None:
        ended = asyncio.get_running_loop().create_future()

        def reply() -> None:
            if os.read(asked, 1):
                os.write(answer, b"!")
            elif not ended.done():
                ended.set_result(None)

        asyncio.get_running_loop().add_reader(asked, reply)
        await ended

    uvloop.run(serve())
