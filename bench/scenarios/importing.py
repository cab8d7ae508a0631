"""What it takes to import shardq, beside the packages that it cannot do without."""

from __future__ import annotations

import subprocess
import sys
import time

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Kind, Scenario
from bench.harness.size import Size

_IMPORTS = 6


def importing(size: Size, *, code: str) -> Figures:
    """The least of several starts of Python."""
    command = (sys.executable, "-P", "-c", code)
    subprocess.run(command, check=True)  # to write bytecode
    return {"start_ms": min(_milliseconds(command) for _ in range(size.count(_IMPORTS)))}


def _milliseconds(command: tuple[str, ...]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True)
    return 1000 * (time.perf_counter() - start)


SCENARIOS = (
    Scenario(
        "import",
        "a Python process that imports shardq, and ends",
        (Figure("start_ms", "from its start to its end", "ms", less_is_better=True),),
        (
            Contestant("import shardq", f"{__name__}:importing", {"code": "import shardq"}),
            Contestant(
                "import asyncio, uvloop, msgspec",
                f"{__name__}:importing",
                {"code": "import asyncio, uvloop, msgspec"},
                Kind.FLOOR,
            ),
            Contestant("bare Python", f"{__name__}:importing", {"code": "pass"}, Kind.FLOOR),
        ),
        "The least of several starts, with bytecode written before.",
    ),
)
