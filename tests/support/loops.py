"""On which event loops a test runs.

A test that never suspends cannot tell one loop from another: it runs on asyncio alone, and that it does not suspend is
part of what it proves. Which tests may suspend is read from their code.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
from collections.abc import Callable, Coroutine, Iterator, Mapping
from random import Random
from types import CodeType, FunctionType
from typing import Any

import pytest
import uvloop

from tests.support.chance import EVERYTHING, SEED
from tests.support.drivers import ONE_OF_EACH
from tests.support.ids import without
from tests.support.tasks import without_suspending

Loops = Mapping[str, Callable[[], asyncio.AbstractEventLoop]]

ASYNCIO: Loops = {"asyncio": asyncio.new_event_loop}
BOTH: Loops = {**ASYNCIO, "uvloop": uvloop.new_event_loop}

#: Parameter of a test that says which loop it runs on, as pytest-asyncio calls it.
LOOP = "_asyncio_loop_factory"

#: What the code of a test names that may suspend, with the helpers and fixtures of tests that do so.
SUSPENDING = {"append_when_room", "asyncio", "finished", "peer", "rest", "suspended", "wait", "wait_for_quiet"}


def loops_for(config: pytest.Config, function: object) -> Loops:
    """The loops that a test can tell from each other; with `--one-of-each` asyncio alone."""
    return ASYNCIO if config.getoption("--one-of-each") or not may_suspend(function) else BOTH


def may_suspend(function: object) -> bool:
    """Whether its code, or that of a function of the tests that it names, names something that may suspend."""
    return _may_suspend(inspect.unwrap(function))  # type: ignore[arg-type]


def runs_on_another_loop(item: pytest.Item) -> bool:
    """Whether the same test runs on the other loop, which is enough: over a network on uvloop, since each verb suspends
    on either; with memory in another arrangement on asyncio, since loops are told from each other by the usual one. A
    case in this process's memory runs on the loop that the seed draws, and the same in shared memory on the other one.
    """
    if item.config.getoption("--one-of-each") or not isinstance(item, pytest.Function) or not may_suspend(item.obj):
        return False
    params: Mapping[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    if _suspends_always(item):
        return params.get(LOOP) is BOTH["asyncio"]
    if "driver" not in params or LOOP not in params:
        return False
    on_uvloop = params[LOOP] is BOTH["uvloop"]
    if params["driver"] not in ONE_OF_EACH:
        return on_uvloop
    if EVERYTHING or "immediate" not in params["driver"].capabilities:
        return False
    return on_uvloop == (_drawn_for_memory(item) ^ (params["driver"] is not ONE_OF_EACH[0]))


def _drawn_for_memory(item: pytest.Function) -> bool:
    """Whether the seed draws asyncio for its case in memory, and so uvloop for the one in shared memory."""
    case = without(item.nodeid, *BOTH, item.callspec.params["driver"].name)
    return Random(f"{os.environ[SEED]} {case}").random() < 0.5


def _suspends_always(item: pytest.Item) -> bool:
    """Whether it is the test of a driver whose verbs suspend where they need not wait."""
    driver = item.callspec.params.get("driver") if hasattr(item, "callspec") else None
    return driver is not None and "immediate" not in driver.capabilities


def prove_it_does_not_suspend(item: pytest.Item) -> None:
    """Have the test fail where it suspends although it runs on one loop only."""
    if not isinstance(item, pytest.Function) or not inspect.iscoroutinefunction(item.obj) or may_suspend(item.obj):
        return
    if _suspends_always(item):
        return
    test: Callable[..., Coroutine[Any, Any, None]] = item.obj

    @functools.wraps(test)
    async def driven(*arguments: Any, **named: Any) -> None:
        without_suspending(test(*arguments, **named))

    item.obj = driven


@functools.cache
def _may_suspend(function: object) -> bool:
    """Asked for each of a test's parameters."""
    return not SUSPENDING.isdisjoint(_names(function, set()))


def _names(function: object, seen: set[object]) -> Iterator[str]:
    if not isinstance(function, FunctionType) or function in seen or not function.__module__.startswith("tests."):
        return
    seen.add(function)
    for name in _names_in(function.__code__):
        yield name
        yield from _names(inspect.unwrap(function.__globals__.get(name)), seen)  # type: ignore[arg-type]


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    yield from code.co_varnames[: code.co_argcount]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)
