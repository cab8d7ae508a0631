"""`Supervisor.map`: plain functions in the workers of a family."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from shardq import Supervisor, connect
from shardq.encoding.codec import MsgspecSerializer
from shardq.errors import (
    ConfigurationError,
    DecodeError,
    HandlerError,
    NotServed,
    RequestFailed,
    ResultTimeout,
    ResultTooLarge,
    SupervisorError,
)
from shardq.functions.apply import Apply, Task
from shardq.functions.proofs import proof
from shardq.supervisor.code.launch import FUNCTIONS_KEY
from tests.support import functions
from tests.support.answering import Ask, Twice
from tests.support.drivers import MIB
from tests.support.functions import Case, Machine, Rectangle, Shape
from tests.support.programs import ROOT
from tests.support.python import Program, run
from tests.support.tasks import LIMIT_S, NEVER_S

MODULE = functions.__name__


@pytest.fixture
async def family() -> AsyncIterator[Supervisor]:
    async with Supervisor(workers=2) as family:
        yield family


async def found(family: Supervisor, function: Any, items: Any, **options: Any) -> list[Any]:
    async with family.map(function, items, **options) as results:
        return [result async for result in results]


def calls(folder: Path) -> set[str]:
    """How often items were called, as an x for each call."""
    return {path.read_text() for path in folder.iterdir()}


async def nothing_is_left(family: Supervisor) -> None:
    assert await family.queue.storage.wait_for_quiet(LIMIT_S)
    assert list(await family.queue.storage.pipes()) == []


@pytest.mark.parametrize("function", [functions.double, functions.later])
async def test_each_item_has_its_result(family: Supervisor, function: Any) -> None:
    doubled = [2 * number for number in range(2000)]
    assert await found(family, function, range(2000)) == doubled
    assert sorted(await found(family, function, range(2000), ordered=False)) == doubled
    assert await found(family, function, [], window=1) == []
    assert await found(family, function, range(20), window=1) == doubled[:20]
    await nothing_is_left(family)


async def test_items_and_results_have_the_types_of_the_annotations(family: Supervisor) -> None:
    assert await found(family, functions.shape, [Rectangle(2, 3)]) == [Shape(6, (Rectangle(2, 3),), {"a", "b"})]
    assert await found(family, functions.half, [1, 2.5]) == [0.5, 1.25]
    assert await found(family, functions.stem, [Path("/a/b.txt")]) == [Path("b")]
    assert await found(family, functions.plain, [1, "a", None, [1], {"b": 2.5}]) == [1, "a", None, [1], {"b": 2.5}]
    assert await found(family, functions.nothing, [1]) == [None]
    assert await found(family, math.factorial, [3, 4]) == [6, 24]
    assert await found(family, Machine.turn, [3]) == [-3]
    assert await found(family, Machine.name, [3]) == ["Machine 3"]


async def test_workers_with_few_items_are_all_busy(family: Supervisor, tmp_path: Path) -> None:
    assert len(set(await found(family, functions.meet_others, [tmp_path] * 2))) == 2


async def test_a_worker_waits_for_several_coroutines_at_the_same_time() -> None:
    async with Supervisor(workers=1) as family:
        assert len(set(await found(family, functions.meet, [4] * 8))) == 1


async def test_an_endless_input_is_read_as_results_are_consumed(family: Supervisor) -> None:
    read = count()
    async with family.map(functions.double, (next(read) for _ in count()), window=10) as results:
        async for result in results:
            if result == 200:
                break
    assert next(read) <= 111
    await nothing_is_left(family)


async def test_a_family_with_handlers_serves_functions_as_well() -> None:
    async with Supervisor(Twice, workers=1) as family:
        assert await family.queue.call(Twice, Ask(4)) == 8
        assert await found(family, functions.double, range(3)) == [0, 2, 4]


# Failures


@pytest.mark.parametrize("function", [functions.picky, functions.picky_later])
async def test_the_first_failure_ends_the_map(family: Supervisor, tmp_path: Path, function: Any) -> None:
    taken = []

    async def read() -> None:
        async with family.map(function, (Case(number, tmp_path) for number in count()), window=20) as results:
            async for result in results:
                taken.append(result)

    with pytest.raises(RequestFailed, match="no fives") as failed:
        await read()
    assert taken == [0, 1, 2, 3, 4]
    assert (failed.value.type, failed.value.attempts) == ("ValueError", 1)
    assert 'raise ValueError("no fives")' in failed.value.traceback
    await nothing_is_left(family)


@pytest.mark.parametrize("function", [functions.picky, functions.picky_later])
@pytest.mark.parametrize("ordered", [True, False])
async def test_outcomes_go_on_behind_a_failure_and_no_item_is_done_twice(
    family: Supervisor, tmp_path: Path, function: Any, *, ordered: bool
) -> None:
    cases = [Case(number, tmp_path) for number in range(40)]
    outcomes = sorted(await found(family, function, cases, outcomes=True, ordered=ordered), key=lambda its: its.index)

    assert [outcome.request for outcome in outcomes] == cases
    assert [outcome.value for outcome in outcomes] == [None if number == 5 else number for number in range(40)]
    assert [outcome.index for outcome in outcomes if outcome.error] == [5]
    assert isinstance(outcomes[5].error, RequestFailed)
    assert calls(tmp_path) == {"x"}


@pytest.mark.parametrize(
    ("function", "item", "said"),
    [
        (functions.odd_result, 3, "odd_result returned 'text', which cannot be sent: .* Expected `int`, got `str`"),
        (functions.pair, 3, r"pair returned \(3, 3\), which cannot be sent: .*annotate the type"),
    ],
)
async def test_a_result_that_would_not_arrive_is_a_failure(
    family: Supervisor, function: Any, item: Any, said: str
) -> None:
    with pytest.raises(RequestFailed, match=said):
        await found(family, function, [item])


async def test_outcomes_go_on_behind_a_result_that_does_not_decode(family: Supervisor) -> None:
    """As one of a worker with another version of the function."""
    results: Any = family.map(functions.plain, [1, "a", 3, 4, "b"], outcomes=True)
    async with results:
        results._mapping._function = results._mapping._function._replace(result=int)
        outcomes = [outcome async for outcome in results]
    assert [outcome.value for outcome in outcomes] == [1, None, 3, 4, None]
    assert [type(outcome.error) for outcome in outcomes if outcome.error] == [DecodeError, DecodeError]
    await nothing_is_left(family)


async def test_a_small_storage() -> None:
    async with Supervisor(workers=2, capacity_bytes=MIB) as family:
        assert await found(family, functions.double, range(2000)) == [2 * number for number in range(2000)]
        assert await found(family, functions.large, [50_000] * 40) == [bytes(50_000)] * 40
        outcomes = await found(family, functions.large, [5, family.queue.storage.limits.message_bytes], outcomes=True)
        with pytest.raises(ResultTooLarge, match=r":large returned a result of .*, as the name of a file"):
            raise outcomes[1].error
        assert [outcome.attempts for outcome in outcomes] == [1, 1]
        await nothing_is_left(family)


async def test_an_item_whose_worker_dies_is_tried_again(family: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "times").write_text("2")
    cases = [Case(number, tmp_path) for number in range(20)]
    assert await found(family, functions.deadly, cases) == list(range(20))
    assert len(os.listdir(tmp_path)) == 2


@pytest.mark.parametrize("function", [functions.forks, functions.forks_later])
async def test_a_process_that_a_function_forks_and_ends_does_no_item(tmp_path: Path, function: Any) -> None:
    async with Supervisor(workers=1) as family:
        cases = [Case(number, tmp_path) for number in range(2000)]
        outcomes = await found(family, function, cases, window=200, outcomes=True)
        assert [outcome.value for outcome in outcomes] == list(range(2000))
        assert {outcome.attempts for outcome in outcomes} == {1}
        assert calls(tmp_path) == {"x"}
        await nothing_is_left(family)


async def test_an_item_that_kills_its_workers_fails(family: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "times").write_text("100")
    with pytest.raises(RequestFailed, match="killed by SIGKILL") as failed:
        await found(family, functions.deadly, [Case(number, tmp_path) for number in range(20)])
    assert (failed.value.signal, failed.value.attempts) == ("SIGKILL", 3)
    await nothing_is_left(family)


async def test_a_module_that_workers_do_not_find(family: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("only_here")
    exec("def double(number: int) -> int:\n    return 2 * number", vars(module))
    monkeypatch.setitem(sys.modules, "only_here", module)
    with pytest.raises(RequestFailed, match="No module named 'only_here'") as failed:
        await found(family, vars(module)["double"], [1])
    assert failed.value.type == "ModuleNotFoundError"


async def test_a_result_that_takes_too_long(family: Supervisor, tmp_path: Path) -> None:
    with pytest.raises(ResultTimeout, match=f"no result of {MODULE}:wait_for came within"):
        await found(family, functions.wait_for, [tmp_path / "go"], timeout_s=NEVER_S)
    (tmp_path / "go").touch()


# Without an event loop


def test_a_program_without_a_loop() -> None:
    with Supervisor(workers=2) as family, family.map_sync(functions.double, range(1000)) as results:
        assert list(results) == [2 * number for number in range(1000)]


async def test_where_a_loop_runs_the_form_without_one_is_refused(family: Supervisor) -> None:
    with pytest.raises(SupervisorError, match="async with Supervisor"), Supervisor():
        pass
    with pytest.raises(HandlerError, match="async with"), family.map_sync(functions.double, [1]):
        pass


SCRIPT = """
import os, sys
from typing import NamedTuple
from shardq import Supervisor, connect
from shardq.encoding.codec import MsgspecSerializer

class Point(NamedTuple):
    x: int

def moved(point: Point) -> Point:
    return Point(point.x + 1)

async def moved_later(point: Point) -> Point:
    return moved(point)

if __name__ == "__main__":
    with Supervisor(workers=2) as supervisor:
        for function in (moved, moved_later):
            with supervisor.map_sync(function, map(Point, range(100))) as results:
                print([point.x for point in results] == list(range(1, 101)))
"""


@pytest.mark.parametrize("as_module", [True, False])
def test_functions_of_the_script_that_was_started(tmp_path: Path, *, as_module: bool) -> None:
    (tmp_path / "started.py").write_text(SCRIPT)
    words = ("-m", "started") if as_module else ("started.py",)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    done = run((sys.executable, *words), cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\nTrue\n", "")


# Ctrl-C

INTERRUPTED = """
import itertools
from shardq import Supervisor, connect
from shardq.encoding.codec import MsgspecSerializer

def work(number: int) -> int:
    return number + 0 * sum(range(20_000))

def main():
    with Supervisor(workers=2) as supervisor, supervisor.map_sync(work, itertools.count()) as results:
        for result in results:
            print(result, flush=True)

if __name__ == "__main__":
    main()
"""
INTERRUPTED_LOOP = """
import asyncio, itertools
from shardq import Supervisor, connect
from shardq.encoding.codec import MsgspecSerializer

def work(number: int) -> int:
    return number + 0 * sum(range(20_000))

async def main():
    async with Supervisor(workers=2) as supervisor, supervisor.map(work, itertools.count()) as results:
        async for result in results:
            print(result, flush=True)

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.parametrize("script", [INTERRUPTED, INTERRUPTED_LOOP], ids=["plain", "loop"])
def test_a_program_that_is_interrupted_ends_in_order_and_says_how_to_go_on(tmp_path: Path, script: str) -> None:
    (tmp_path / "script.py").write_text(script)
    program = Program[str](
        (sys.executable, "script.py"),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout
    for number in range(300):
        assert program.stdout.readline() == f"{number}\n"
    family = psutil.Process(program.pid).children(recursive=True)
    program.send_signal(signal.SIGINT)
    with program:
        assert program.stderr
        printed, complaints = program.stdout.read(), program.stderr.read()

    assert program.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in complaints
    assert len(family) == 3  # the supervisor and two workers
    assert psutil.wait_procs(family, timeout=LIMIT_S)[1] == []
    [count] = re.findall(r"(\d+) results had been taken.*islice\(requests, (\d+), None\)", complaints)
    last = 300 + len(printed.splitlines())
    assert count[0] == count[1]
    assert int(count[0]) in (last, last + 1)  # the last one may be taken, and not printed


# Which functions workers call


async def test_workers_call_no_function_that_their_application_did_not_name(family: Supervisor, tmp_path: Path) -> None:
    name = f"{MODULE}:touch"
    assert await found(family, functions.touch, [tmp_path / "own"]) == [True]

    for forged in (b"", bytes(16), proof("another key", name)):
        [item] = MsgspecSerializer().encode(Path, [tmp_path / "forged"])
        answer = await family.queue.call(Apply, Task(name, forged, item, 0))
        assert answer.failure
        assert answer.failure.type == "shardq.errors.HandlerError"
        assert "was not named by an application whose functions this worker calls" in answer.failure.message
    assert os.listdir(tmp_path) == ["own"]


async def test_families_that_no_application_started_call_no_functions(start: Any, name: str) -> None:
    start(f"{Twice.__module__}:Twice", "--url", f"shm://{name}", "--workers", 1).serving()
    async with await connect(f"shm://{name}") as queue:
        assert await queue.call(Twice, Ask(4)) == 8
        with pytest.raises(NotServed):
            await queue.call(Apply, Task(f"{MODULE}:double", b"", b"", 0))


async def test_where_families_share_a_storage_their_programs_need_a_key(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv(FUNCTIONS_KEY, raising=False)
    url = f"shm://{name}"
    async with Supervisor(Twice, workers=1, url=url), Supervisor(Twice, url=url, if_running="attach") as other:
        with pytest.raises(ConfigurationError, match="set SHARDQ_FUNCTIONS_KEY to the same secret text"):
            other.map(functions.double, [1])
    monkeypatch.setenv(FUNCTIONS_KEY, "a secret of both")
    async with Supervisor(Twice, workers=1, url=url), Supervisor(Twice, url=url, if_running="attach") as other:
        assert await found(other, functions.double, range(3)) == [0, 2, 4]
