"""A handler that sends on what it gets, for another handler: by `emit`, and by `register`."""

from __future__ import annotations

from pkgutil import resolve_name

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Scenario
from bench.harness.size import Size
from bench.load.family import seconds_for
from bench.load.jobs import CALL, CAPACITY_BYTES, JOBS, calls_of
from shardq import Supervisor

_TOTAL = 100_000


def family(size: Size, *, handler: str) -> Figures:
    """`handler` names the class that sends on."""
    return uvloop.run(_family(size.count(_TOTAL, CALL), handler))


async def _family(total: int, handler: str) -> Figures:
    sending = resolve_name(f"{JOBS}:{handler}")
    async with Supervisor(JOBS, workers=1, capacity_bytes=CAPACITY_BYTES) as served:
        await seconds_for(served, sending, calls_of(CALL, total // 10))  # to warm up
        return {"inputs_per_s": total / await seconds_for(served, sending, calls_of(CALL, total))}


SCENARIOS = (
    Scenario(
        "follow-up",
        f"one output for each input, calls of {CALL} over 16 threads, one worker",
        (Figure("inputs_per_s", "until the outputs are handled too", "requests/s"),),
        (
            Contestant("emit", f"{__name__}:family", {"handler": "Emitting"}),
            Contestant("register in the handler", f"{__name__}:family", {"handler": "Registering"}),
        ),
        "What a handler emits is stored in the step that acknowledges its batch, or not at all. What it registers is "
        "there at once, and stays where the handler fails later.",
    ),
)
