"""`Route.by`, and what is said of a `route()` that got it wrong."""

from __future__ import annotations

import subprocess
import sys
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest

from shardq import Queue, Route
from shardq.drivers import RuntimeStorage
from shardq.errors import HandlerError
from tests.support.programs import ROOT
from tests.unit.queue_handlers import Threaded, jobs


class Region(StrEnum):
    NORTH = "north"


class Number(IntEnum):
    SEVEN = 7


#: Written down once: they may never change.
KNOWN = [
    ("north", 6055792318171679829),
    (b"north", 6055792318171679829),
    ("", 7252660547403494068),
    ("ünï \U0001f600", 8668959737921582805),
    (-1, 2823456634381844369),
    (1 << 63, 37650627941507281),
    (-(10**40), 5796989014434479504),
]


@pytest.mark.parametrize(("key", "thread"), KNOWN, ids=lambda value: repr(value)[:20])
def test_the_thread_of_a_key_never_changes(key: Any, thread: int) -> None:
    assert Route.by(key) == Route(thread, 0)


@pytest.mark.parametrize("seed", ["0", "1", "12345"])
def test_it_is_the_same_in_every_process(seed: str) -> None:
    code = f"from shardq import Route; print([Route.by(key).thread for key, _ in {KNOWN!r}])"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
    )

    assert ran.stdout.strip() == str([thread for _, thread in KNOWN])


@pytest.mark.parametrize("key", [0, 1, 7, True, Number.SEVEN, (1 << 63) - 1])
def test_a_number_that_can_be_a_thread_is_one(key: int) -> None:
    route = Route.by(key)

    assert route == Route(int(key))
    assert type(route.thread) is int


@pytest.mark.parametrize(
    "key",
    ["", "x" * 10**6, "\ud800", b"\xff" * 100, bytearray(b"a"), 10**5000, -1, Region.NORTH],
    ids=lambda key: f"{type(key).__name__}",
)
def test_any_text_bytes_or_integer_has_a_thread(key: Any) -> None:
    assert 0 <= Route.by(key).thread < 1 << 63
    assert Route.by(key, 3) == (Route.by(key).thread, 3)
    assert Route.by(key) == Route.by(key)


@pytest.mark.parametrize("keys", [range(0, 160_000, 16), [f"user-{n}" for n in range(10_000)]], ids=["numbers", "text"])
def test_keys_are_folded_evenly(keys: Any) -> None:
    counts = [0] * 16
    for key in keys:
        counts[Route.by(key, threads=16).thread] += 1

    assert all(500 < count < 750 for count in counts)


@pytest.mark.parametrize("key", [None, 1.5, (1, 2), UUID(int=1), object()], ids=lambda key: type(key).__name__)
def test_other_keys_are_refused_with_advice(key: Any) -> None:
    with pytest.raises(HandlerError, match="give text, bytes or an integer"):
        Route.by(key)


@pytest.mark.parametrize("threads", [0, -1, 1.5, "4", True], ids=str)
def test_a_number_of_threads_that_is_none_is_refused(threads: Any) -> None:
    with pytest.raises(HandlerError, match="give a number of threads from 1 up"):
        Route.by("x", threads=threads)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (
            Route(1, 5),
            "returned one Route alone for 2 requests: a list with one for each is needed; write `return [",
        ),
        ("ab", "returned 'ab' for 2 requests"),
        ((route for route in [Route(), Route()]), "for 2 requests: a list with one for each"),
        ({Route(0, 5), Route(1, 5)}, "for 2 requests: a list with one for each"),
        (["a", "b"], "returned 'a', which is no Route: write `return [Route"),
        ([1, 2], "returned 1, which is no Route"),
        ([Route("a", 5), Route("b", 5)], "returned thread 'a': it must be an integer from 0 up"),  # type: ignore[arg-type]
        ([Route("a", 5)] * 2, "Route.by(key) makes one of any text, bytes or integer"),  # type: ignore[arg-type]
        ([Route(-1, 5)] * 2, "Route.by(key) makes one of any text, bytes or integer"),
        ([Route(b"x", 5)] * 2, "Route.by(key) makes one of any text"),  # type: ignore[arg-type]
        ([Route((1, 2), 5)] * 2, "Route.by(str(key)) makes one of a text"),  # type: ignore[arg-type]
        ([Route(1.0, 5)] * 2, "Route.by(str(key)) makes one of a text"),  # type: ignore[arg-type]
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_route_that_got_it_wrong_is_told_what_to_write(
    monkeypatch: pytest.MonkeyPatch, result: Any, words: str
) -> None:
    queue = Queue(RuntimeStorage())
    monkeypatch.setattr(Threaded, "result", result)

    with pytest.raises(HandlerError) as raised:
        await queue.register(Threaded, *jobs(2))

    assert words in str(raised.value)
    assert await queue.storage.pipes() == []


async def test_a_route_that_equals_a_known_one_is_looked_at_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue = Queue(RuntimeStorage())
    monkeypatch.setattr(Threaded, "result", [Route(1, 5)])
    assert await queue.register(Threaded, *jobs(1)) == 1

    for equal in (Route(True, 5), Route(1.0, 5), Route(1, 5.0)):  # type: ignore[arg-type]
        monkeypatch.setattr(Threaded, "result", [equal])
        with pytest.raises(HandlerError, match=r"route\(\) returned (thread|priority)"):
            await queue.register(Threaded, *jobs(1))


async def test_a_route_is_refused_once_its_priority_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue(RuntimeStorage())
    assert await queue.register(Threaded, *jobs(3)) == 3

    monkeypatch.setattr(Threaded, "priorities", [0])
    with pytest.raises(HandlerError, match=r"priority 5, which is not among its priorities \[0\]"):
        await queue.register(Threaded, *jobs(3))

    monkeypatch.undo()
    assert await queue.register(Threaded, *jobs(3)) == 3
