"""What is not needed is not imported: seen in interpreters that import nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: Packages that take long to import, and parts of this one that only some programs need.
HEAVY = (
    *("pydantic", "pydantic_core", "pydantic_settings", "cronsim", "dateutil", "psutil", "redis", "hashlib", "random"),
    *("argparse", "ctypes", "multiprocessing", "posix_ipc", "mmap", "uvloop", "opentelemetry"),
    *("shardq.cli", "shardq.embedded", "shardq.serving", "shardq.shm", "shardq.supervise", "shardq.supervisor"),
    *("shardq.drivers.memory", "shardq.drivers.shared", "shardq.scheduling.calendar", "shardq.working"),
)
#: Of these, what a worker does not need either, in a family that was started as an application starts one.
HEAVY_IN_A_WORKER = (
    *("pydantic", "pydantic_core", "pydantic_settings", "cronsim", "dateutil", "psutil", "redis", "multiprocessing"),
    *("bz2", "lzma", "secrets", "shutil", "opentelemetry"),
    *("shardq.cli", "shardq.embedded", "shardq.drivers.memory", "shardq.scheduling.calendar"),
)

IN_MEMORY = """
import asyncio, sys
from shardq import Handler, Queue, Worker
from shardq.drivers import RuntimeLock, RuntimeStorage

class Add(Handler[int]):
    def perform(self, *numbers: int) -> None:
        print(*sorted(sys.modules))

async def main() -> None:
    queue = Queue(RuntimeStorage())
    await queue.register(Add, 1)
    await Worker(RuntimeLock(), queue).loop(limit=1)

asyncio.run(main())
"""

EMBEDDED = """
import asyncio, sys
from shardq import Handler, Supervisor

class Show(Handler[int]):
    def perform(self, *numbers: int) -> None:
        print(*sorted(sys.modules), flush=True)

async def main() -> None:
    async with Supervisor(Show, workers=1) as supervisor:
        await supervisor.queue.register(Show, 1)
        await supervisor.drain()

if __name__ == "__main__":
    asyncio.run(main())
"""

COLLECTED = """
import asyncio, gc
from shardq import Handler, Supervisor

enabled = gc.isenabled()

class Show(Handler[int]):
    def perform(self, *numbers: int) -> None:
        gc.collect()
        looked_at = gc.get_objects()
        mine, shardqs = (any(found is each for found in looked_at) for each in (Show, Handler))
        print(f"enabled={gc.isenabled()} at-import={enabled} own-handler={mine} shardq={shardqs}", flush=True)

async def main() -> None:
    async with Supervisor(Show, workers=1) as supervisor:
        await supervisor.queue.register(Show, 1)
        await supervisor.drain()

if __name__ == "__main__":
    asyncio.run(main())
"""

LATER = """
import sys
from shardq import Handler, Queue
from shardq.drivers import RuntimeStorage

class Add(Handler[int]):
    def perform(self, *numbers: int) -> None: ...

Queue(RuntimeStorage()).register_sync(Add, 1, recurrent="* * * * *")
print(*sorted(sys.modules))
"""


def words_of(program: str, *arguments: str) -> set[str]:
    """What the program prints: names of modules, as a rule."""
    command = [sys.executable, *arguments, *(() if arguments else ("-c", program))]
    return set(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split())


def script_of(program: str, folder: Path) -> str:
    """The path of the program as a script, from which its own handlers can be imported."""
    script = folder / "script.py"
    script.write_text(program, encoding="utf-8")
    return str(script)


def test_an_import_of_the_package_brings_nothing_heavy() -> None:
    assert words_of("import sys, shardq; print(*sys.modules)").intersection(HEAVY) == set()


def test_a_worker_in_memory_brings_none_of_the_packages() -> None:
    modules = words_of(IN_MEMORY)

    assert "shardq.working.worker" in modules
    assert modules.intersection(HEAVY_IN_A_WORKER) == {"shardq.drivers.memory"}


@pytest.mark.skipif(sys.platform != "linux", reason="needs shared memory")
def test_a_worker_of_a_family_brings_none_of_the_packages(tmp_path: Path) -> None:
    modules = words_of("", script_of(EMBEDDED, tmp_path))

    assert "shardq.supervisor.workers.child" in modules
    assert modules.intersection(HEAVY_IN_A_WORKER) == {"shardq.embedded"}


@pytest.mark.skipif(sys.platform != "linux", reason="needs shared memory")
def test_a_worker_collects_garbage_and_does_not_look_for_it_in_what_shardq_imported(tmp_path: Path) -> None:
    said = words_of("", script_of(COLLECTED, tmp_path))

    assert said == {"enabled=True", "at-import=True", "own-handler=True", "shardq=False"}


def test_what_is_used_later_is_imported_then() -> None:
    assert {"cronsim", "shardq.scheduling.calendar"} <= words_of(LATER)


def test_the_command_line_is_read_without_what_one_command_needs() -> None:
    """`shardq --help` and the completion of shells wait for this."""
    modules = words_of("import sys; from shardq.cli.parser import new_parser; new_parser(); print(*sys.modules)")
    assert modules.intersection({"textual", "rich", "redis", "shardq.cli.top", "shardq.sampling"}) == set()
