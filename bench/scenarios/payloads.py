"""Requests from 8 bytes to 64 KiB."""

from __future__ import annotations

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Kind, Scenario
from bench.harness.size import Size
from bench.load.family import seconds_for
from bench.load.jobs import CAPACITY_BYTES, Blob, Carry
from shardq import Supervisor

_CALL = 16
#: Bytes of one request, and how many of them a round sends.
_TOTALS = {8: 40_000, 1 << 10: 40_000, 64 << 10: 4_000}


def family(size: Size, *, content_bytes: int, call: int, total: int) -> Figures:
    return uvloop.run(_family(size.count(total, call), content_bytes, call))


async def _family(count: int, content_bytes: int, call: int) -> Figures:
    requests = [Blob(number, bytes(content_bytes)) for number in range(call)]
    async with Supervisor(Carry, workers=1, capacity_bytes=CAPACITY_BYTES) as served:
        await seconds_for(served, Carry, [requests] * max(1, count // call // 10))  # to warm up
        seconds = await seconds_for(served, Carry, [requests] * (count // call))
    return {"end_to_end_per_s": count / seconds, "mib_per_s": count * content_bytes / seconds / (1 << 20)}


def _scenario(content_bytes: int, total: int) -> Scenario:
    arguments = {"content_bytes": content_bytes, "call": _CALL, "total": total}
    text = f"{content_bytes} bytes" if content_bytes < 1 << 10 else f"{content_bytes >> 10} KiB"
    return Scenario(
        f"payload-{content_bytes}",
        f"requests of {text}, calls of {_CALL} over 16 threads, one worker",
        (
            Figure("end_to_end_per_s", "end to end", "requests/s"),
            Figure("mib_per_s", "content alone", "MiB/s"),
        ),
        (
            Contestant("shardq", f"{__name__}:family", arguments),
            Contestant("multiprocessing.Queue, lists", "bench.rivals.process_queue:payloads", arguments, Kind.RIVAL),
        ),
        "The contents are zeros, which neither side compresses.",
    )


SCENARIOS = tuple(_scenario(content_bytes, total) for content_bytes, total in _TOTALS.items())
