"""A supervisor that is the first process of a container: it inherits orphans, and the kernel keeps signals from it for
which it has no handler.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from shardq.supervisor.exits import Exit
from tests.support import hosted
from tests.support.hosted import Act, Plain, told, until_told
from tests.support.programs import ROOT, until
from tests.support.supervised import client
from tests.support.tasks import LIMIT_S

UNSHARE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child")


def _can_unshare() -> bool:
    with suppress(FileNotFoundError):
        return subprocess.run((*UNSHARE, "true"), capture_output=True, check=False).returncode == 0
    return False


pytestmark = pytest.mark.skipif(not _can_unshare(), reason="this system does not let a test have a pid namespace")


class First:
    """A supervisor as the first process of a pid namespace."""

    def __init__(self, *arguments: object, environment: dict[str, str] | None = None) -> None:
        command = (*UNSHARE, sys.executable, "-m", "shardq.supervise", *map(str, arguments))
        self.process = subprocess.Popen(command, cwd=ROOT, env=os.environ | (environment or {}))
        until(lambda: len(self._below(self.process.pid)) == 1, "it is started")
        self.pid = self._below(self.process.pid)[0].pid

    def children(self) -> list[psutil.Process]:
        return self._below(self.pid)

    def dead(self) -> list[psutil.Process]:
        return [child for child in self.children() if child.status() == psutil.STATUS_ZOMBIE]

    def serving(self, workers: int) -> First:
        until(lambda: len(self.children()) == workers, "it has its workers")
        return self

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def end(self) -> int:
        return self.process.wait(LIMIT_S)

    @staticmethod
    def _below(pid: int) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(pid).children()
        return []


@pytest.fixture
def first() -> Iterator[list[First]]:
    programs: list[First] = []
    yield programs
    for program in programs:
        program.process.kill()
        program.process.wait()


@pytest.mark.parametrize("what", ["orphan", "orphan of a child", "orphan of a signal"])
def test_it_buries_orphans_and_sees_its_own_workers_die(
    first: list[First], url: str, tmp_path: Path, what: str
) -> None:
    program = First(hosted.__name__, "--url", url, "--workers", 1).serving(1)
    first.append(program)
    worker = program.children()[0]
    with client(url) as queue:
        queue.register_sync(Plain, Act(str(tmp_path), what))
        until_told(tmp_path, what)
        until(lambda: program.children() == [worker], "orphans are buried")

        worker.kill()
        until(lambda: len(program.children()) == 1 and program.children() != [worker], "a worker that died is replaced")
        queue.register_sync(Plain, Act(str(tmp_path), "nothing"))
        until_told(tmp_path, "nothing")

    program.signal(signal.SIGTERM)
    assert program.end() == Exit.OK


def test_it_buries_orphans_after_a_reload_too(first: list[First], url: str, tmp_path: Path) -> None:
    program = First(hosted.__name__, "--url", url, "--workers", 1).serving(1)
    first.append(program)
    worker = program.children()[0]

    program.signal(signal.SIGHUP)
    until(lambda: len(program.children()) == 1 and program.children() != [worker], "it reloads")
    with client(url) as queue:
        queue.register_sync(Plain, Act(str(tmp_path), "orphan"))
        until_told(tmp_path, "orphan")
    until(lambda: len(program.children()) == 1, "orphans are buried")

    program.signal(signal.SIGTERM)
    assert program.end() == Exit.OK


def test_it_ends_at_a_signal_that_comes_while_it_imports(
    first: list[First], url: str, name: str, tmp_path: Path
) -> None:
    tmp_path.joinpath(f"{name}.py").write_text(
        f"from tests.support.hosted import Plain as Again, tell\n"
        f"from tests.support.programs import until\n"
        f"from pathlib import Path\n"
        f"tell({str(tmp_path)!r}, 'imports', '')\n"
        f"until(Path({str(tmp_path)!r}, 'go').exists, 'it may go on')\n"
    )
    program = First(name, "--url", url, environment={"PYTHONPATH": f"{tmp_path}:{ROOT}"})
    first.append(program)
    until_told(tmp_path, "imports")

    program.signal(signal.SIGTERM)
    (tmp_path / "go").touch()

    assert program.end() == Exit.OK
    assert told(tmp_path) == ["imports="]
