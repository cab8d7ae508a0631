"""What a verb of the in-memory storage does must not grow with what it has nothing to do with."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from shardq.drivers import RuntimeStorage
from shardq.drivers.memory import storage as driver
from shardq.model import Hand, Terms

FOLDER = str(Path(driver.__file__).parent)
TERMS = Terms((0,), 1)


async def handed_out(storage: RuntimeStorage, key: str) -> Hand:
    token = await storage.claim(key)
    return Hand(key, token, await storage.take(key, token, TERMS))


async def failing_before(others: int) -> Callable[[], Coroutine[Any, Any, object]]:
    storage = RuntimeStorage()
    await storage.append([("m/H/0/0", [b"1"] * (others + 1))])
    hand = await handed_out(storage, "m/H/0")
    return lambda: storage.fail(hand)


async def beside_resting(others: int) -> Callable[[], Coroutine[Any, Any, object]]:
    storage = RuntimeStorage()
    for thread in range(others):
        key = f"m/H/{thread}"
        await storage.append([(f"{key}/0", [b"1"])])
        await storage.unclaim(key, await storage.claim(key), 1000.0)
    await storage.append([("m/H/x/0", [b"1"])])
    hand = await handed_out(storage, "m/H/x")
    return lambda: storage.pop(hand, 1)


def steps_of(verb: Coroutine[Any, Any, object]) -> int:
    """How many instructions of the driver it takes."""
    steps = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal steps
        if not frame.f_code.co_filename.startswith(FOLDER):
            return None
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return trace

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        verb.send(None)
    except StopIteration:
        return steps
    finally:
        sys.settrace(former)
    raise AssertionError("suspended")


@pytest.mark.parametrize("case", [failing_before, beside_resting])
def test_a_verb_takes_no_longer_beside_many_others(case: Callable[[int], Any]) -> None:
    few, many = (steps_of(asyncio.run(case(others))()) for others in (3, 300))
    assert 0 < many < few + 100
