"""What is not needed is not imported: seen in interpreters that import nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Packages that take long to import, and parts of this one that only some programs need.
HEAVY = (
    *("pydantic", "pydantic_core", "pydantic_settings", "cronsim", "dateutil", "psutil", "redis", "hashlib", "random"),
    *("argparse", "ctypes", "multiprocessing", "posix_ipc", "mmap", "uvloop"),
    *("shardq.cli", "shardq.embedded", "shardq.serving", "shardq.shm", "shardq.supervise", "shardq.supervisor"),
    *("shardq.drivers.memory", "shardq.drivers.shared", "shardq.scheduling.calendar", "shardq.working"),
)
#: Of these, what a worker does not need either, in a family that was started as an application starts one.
HEAVY_IN_A_WORKER = (
    *("pydantic", "pydantic_core", "pydantic_settings", "cronsim", "dateutil", "psutil", "redis", "multiprocessing"),
    *("bz2", "lzma", "secrets", "shutil"),
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

LATER = """
import sys
from shardq import Handler, Queue
from shardq.drivers import RuntimeStorage

class Add(Handler[int]):
    def perform(self, *numbers: int) -> None: ...

Queue(RuntimeStorage()).register_sync(Add, 1, recurrent="* * * * *")
print(*sorted(sys.modules))
"""


def modules_of(program: str, *arguments: str) -> set[str]:
    """Names of the modules that the program prints."""
    command = [sys.executable, *arguments, *(() if arguments else ("-c", program))]
    return set(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split())


def test_an_import_of_the_package_brings_nothing_heavy() -> None:
    assert modules_of("import sys, shardq; print(*sys.modules)").intersection(HEAVY) == set()


def test_a_worker_in_memory_brings_none_of_the_packages() -> None:
    modules = modules_of(IN_MEMORY)

    assert "shardq.working.worker" in modules
    assert modules.intersection(HEAVY_IN_A_WORKER) == {"shardq.drivers.memory"}


@pytest.mark.skipif(sys.platform != "linux", reason="needs shared memory")
def test_a_worker_of_a_family_brings_none_of_the_packages(tmp_path: object) -> None:
    script = f"{tmp_path}/script.py"
    with open(script, "w", encoding="utf-8") as file:
        file.write(EMBEDDED)
    modules = modules_of("", script)

    assert "shardq.supervisor.workers.child" in modules
    assert modules.intersection(HEAVY_IN_A_WORKER) == {"shardq.embedded"}


def test_what_is_used_later_is_imported_then() -> None:
    assert {"cronsim", "shardq.scheduling.calendar"} <= modules_of(LATER)
