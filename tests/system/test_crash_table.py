"""Each way to die, at each place where a handler's code runs: docs/explanation/failures.md says what happens."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from shardq.supervisor.exits import Exit
from tests.support import python
from tests.support.crashing import Ask, Fragile, environment
from tests.support.delicate import Delicate, Reader
from tests.support.homes import Home, cases_on_homes
from tests.support.programs import ROOT, Supervise, until
from tests.support.supervised import Start, client, dead_letters, forget_dead, left_in, until_dead

pytestmark = pytest.mark.every_case

MODULE = Fragile.__module__


class Outcome(NamedTuple):
    """Of a request that is to blame."""

    reason: str
    error: str
    signal: str | None = None


RAISED = {
    "raise": "KeyError: 'out of luck'",
    "system-exit": "SystemExit: out of luck",
    "recursion": "RecursionError: maximum recursion depth exceeded",
    "memory": "MemoryError",
    "interrupt": "shardq.errors.HandlerError: KeyboardInterrupt came out of the handler",
    "generator-exit": "shardq.errors.HandlerError: GeneratorExit came out of the handler",
    "cancel": "shardq.errors.HandlerError: CancelledError came out of the handler",
}
DIED = {
    "exit": Outcome("died", "its worker ended with exit code 3"),
    "exit-0": Outcome("died", "its worker ended with exit code 0"),
    "kill": Outcome("died", "its worker was killed by SIGKILL", "SIGKILL"),
    "segfault": Outcome("died", "its worker was killed by SIGSEGV", "SIGSEGV"),
}
LATE = Outcome("raised", "shardq.errors.HandlerTimeout: it took longer than timeout_s, 0.3 s")
IN_HANDLE = {
    **{how: Outcome("raised", error) for how, error in RAISED.items()},
    **DIED,
    "sleep": LATE,
    "spin": LATE,
    "hang": Outcome(
        "died", "its handler ran longer than timeout_s and could not be interrupted: its worker was killed", "SIGKILL"
    ),
}
#: Those of them that a handler's code can do where it has no batch.
BESIDE_HANDLE = ["raise", "system-exit", "recursion", "memory", "kill", "exit", "segfault", "sleep"]


class Case:
    """A supervisor whose handlers crash."""

    def __init__(self, start: Start, url: str, folder: Path) -> None:
        self._start = start
        self._url = url
        self.folder = folder

    def serve(self, how: str, *arguments: object, module: str = MODULE) -> Supervise:
        """Start a supervisor of handlers that crash like this."""
        return self._start(
            module, "--url", self._url, "--workers", 2, *arguments, environment=environment(self.folder, how)
        ).serving()

    def plan(self, where: str, how: str) -> None:
        (self.folder / "plan").write_text(f"{where} {how}")

    def mend(self) -> None:
        (self.folder / "mended").touch()

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().split() if path.exists() else []

    def done(self) -> list[int]:
        """Numbers of what was done, each at its first time."""
        return list(dict.fromkeys(map(int, self.lines("done"))))


@pytest.fixture
def case(start: Start, url: str, tmp_path: Path) -> Case:
    return Case(start, url, tmp_path)


@cases_on_homes("how outcome", {how: (how, outcome) for how, outcome in IN_HANDLE.items()}, ["raise", "kill", "hang"])
def test_what_crashes_in_handle_becomes_a_dead_letter_and_the_others_are_done(
    how: str, outcome: Outcome, case: Case, home: Home
) -> None:
    home.leave(Fragile, [Ask(0), Ask(1), Ask(2, how), Ask(3), Ask(4)])
    with client(home.url) as queue:
        [pipe] = asyncio.run(queue.storage.pipes())
        culprit = asyncio.run(queue.storage.range(pipe, 3)).numbers[2]
        program = case.serve(how)
        [buried] = until_dead(queue, 1)
        until(lambda: len(case.done()) == 4, "the others are done")

        letter = buried.letter
        assert Outcome(letter.reason, letter.error.partition(" while ")[0], letter.signal) == outcome
        assert (letter.attempts, letter.sequence, letter.handler) == (2, culprit, f"{MODULE}/Fragile")
        assert letter.first_failed_us < letter.last_failed_us
        assert ("crashing.py" in letter.traceback) == (letter.reason == "raised")
        assert case.done() == [0, 1, 3, 4]
        forget_dead(queue)
    assert program.stop() == Exit.OK
    assert home.left() == []


@cases_on_homes("how", {how: (how,) for how in BESIDE_HANDLE}, ["raise", "kill"])
@pytest.mark.parametrize("where", ["create", "start"])
def test_what_crashes_before_its_first_batch_waits_until_it_is_mended(
    where: str, how: str, case: Case, home: Home
) -> None:
    home.leave(Fragile, [Ask(0), Ask(1)])
    case.plan(where, how)
    program = case.serve(how)
    until(lambda: case.lines("crashed") != [], f"it crashes in {where}")
    case.mend()
    with client(home.url) as queue:
        until(lambda: case.done() == [0, 1], "both are done once it is mended")
        assert dead_letters(queue) == []
    assert program.stop() == Exit.OK
    assert home.left() == []


@cases_on_homes("how", {how: (how,) for how in BESIDE_HANDLE}, ["raise", "kill"])
def test_what_crashes_in_stop_has_done_its_work(how: str, case: Case, home: Home) -> None:
    home.leave(Fragile, [Ask(0), Ask(1)])
    case.plan("stop", how)
    program = case.serve(how, "--drain")

    assert program.end() == Exit.OK
    assert case.done() == [0, 1]
    # Only the work of a handler that sleeps may be cut off as well, and be done again.
    assert how == "sleep" or len(case.lines("done")) == 2
    assert case.lines("crashed") != []
    assert home.left() == []


@cases_on_homes(
    "how outcome",
    {how: (how, outcome) for how, outcome in IN_HANDLE.items() if how in RAISED or how in DIED},
    ["cancel", "exit-0"],
)
def test_what_crashes_while_it_is_decoded_becomes_a_dead_letter(
    how: str, outcome: Outcome, case: Case, home: Home
) -> None:
    home.leave(Reader, [Delicate(number=0), Delicate(number=1, how=how), Delicate(number=2)])
    program = case.serve(how, module=Reader.__module__)
    with client(home.url) as queue:
        [buried] = until_dead(queue, 1)
        until(lambda: case.done() == [0, 2], "the others are done")
        letter = buried.letter
        assert Outcome(letter.reason, letter.error.partition(" while ")[0], letter.signal) == outcome
        forget_dead(queue)
    assert program.stop() == Exit.OK
    assert home.left() == []


@cases_on_homes("how", {how: (how,) for how in BESIDE_HANDLE if how != "sleep"}, ["kill"])
def test_what_crashes_in_route_has_stored_nothing(how: str, case: Case, home: Home) -> None:
    home.leave(Fragile, [Ask(0)])
    producer = python.run((sys.executable, "-c", REGISTER, home.url, how), cwd=ROOT, capture_output=True, timeout=60)

    assert producer.returncode != 0
    assert left_in(home.url) == 1
    program = case.serve(how, "--drain")
    assert program.end() == Exit.OK
    assert case.done() == [0]
    assert home.left() == []


REGISTER = """
import asyncio, sys
from shardq import connect
from tests.support.crashing import Ask, Router

queue = asyncio.run(connect(sys.argv[1]))
sys.exit(0 if queue.register_sync(Router, Ask(1, sys.argv[2])) else 1)
"""
