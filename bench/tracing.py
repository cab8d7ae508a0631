"""What tracing costs: `python -m bench.tracing` prints the processor time of a `register` of one request, and of a
batch of one, over shared memory, without OpenTelemetry and with it. Each is in a process of its own. There is no
exporter, so all of it is work of shardq and of the SDK.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from shardq import Handler, Queue, Worker
from shardq.drivers import SharedLock, SharedStorage

#: How the process is set up, and what that is called.
MODES = {
    "none": "OpenTelemetry is not imported",
    "api": "it is imported, and there is no provider",
    "unsampled": "in a trace that is not sampled",
    "sampled": "in a trace that is sampled",
}
_REQUESTS, _ROUNDS = 1000, 12


class Job(Handler[int]):
    batch_size = 1

    def perform(self, number: int) -> None: ...


def span_of(mode: str) -> AbstractContextManager[Any]:
    """The span that requests are sent in."""
    if mode == "none":
        return nullcontext()
    from opentelemetry import trace

    if mode == "api":
        return nullcontext()
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

    trace.set_tracer_provider(TracerProvider(sampler=ALWAYS_ON if mode == "sampled" else ALWAYS_OFF))
    return trace.get_tracer("bench").start_as_current_span("caller")


async def measured(mode: str) -> tuple[float, float]:
    """Microseconds of a call and of a batch, the least of the rounds."""
    storage = SharedStorage.create(f"tracing-{os.getpid()}", 64 << 20)
    storage.importable_only = False
    queue, calls, batches = Queue(storage), list[float](), list[float]()
    with span_of(mode):
        for _ in range(_ROUNDS):
            begun = time.process_time()
            for number in range(_REQUESTS):
                await queue.register(Job, number)
            called = time.process_time()
            await Worker(SharedLock(storage), queue).loop(limit=_REQUESTS)
            batches.append(time.process_time() - called)
            calls.append(called - begun)
    storage.destroy()
    await storage.close()
    return min(calls) / _REQUESTS * 1e6, min(batches) / _REQUESTS * 1e6


def main() -> None:
    if len(sys.argv) > 1:
        print(*asyncio.run(measured(sys.argv[1])))
        return
    for mode, text in MODES.items():
        words = (sys.executable, "-m", "bench.tracing", mode)
        call, batch = map(float, subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())
        print(f"{text:45} register {call:6.1f} us   batch {batch:6.1f} us")


if __name__ == "__main__":
    main()
