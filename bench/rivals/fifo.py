"""The floor of a wake-up: two processes on the same event loop, and a named FIFO between them.

    python -m bench.rivals.fifo PATH COUNT

reads that many time stamps from the FIFO, one per wake-up, and prints the delays as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from bench.harness.contestant import Figures
from bench.harness.size import Size
from bench.load.percentiles import warm_percentiles_us

_STAMP_BYTES = 8


def wake_ups(size: Size, *, pings: int, pause_s: float) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bell")
        os.mkfifo(path, 0o600)
        return warm_percentiles_us(uvloop.run(_ring(path, size.count(pings), pause_s)))


async def _ring(path: Path, pings: int, pause_s: float) -> list[int]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "bench.rivals.fifo", str(path), str(pings)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readline()
    bell = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        for _ in range(pings):
            await asyncio.sleep(pause_s)
            os.write(bell, time.monotonic_ns().to_bytes(_STAMP_BYTES, "little"))
    finally:
        os.close(bell)
    output, _ = await process.communicate()
    delays: list[int] = json.loads(output)
    return delays


async def _listen(path: Path, count: int) -> None:
    delays: list[int] = []
    done = asyncio.Event()
    bell = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def rung() -> None:
        now = time.monotonic_ns()
        stamps = os.read(bell, 4096)
        for start in range(0, len(stamps), _STAMP_BYTES):
            delays.append(now - int.from_bytes(stamps[start : start + _STAMP_BYTES], "little"))
        if len(delays) >= count:
            done.set()

    asyncio.get_running_loop().add_reader(bell, rung)
    print("ready", flush=True)
    await done.wait()
    print(json.dumps(delays), flush=True)


if __name__ == "__main__":
    uvloop.run(_listen(Path(sys.argv[1]), int(sys.argv[2])))
