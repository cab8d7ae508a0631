"""What a run takes of the cases of whole programs and workers, as the seed draws: of a table of cases every other one,
and each case over one of the storages that it could run over.

What such a case proves lies above the drivers, and the contracts prove of each driver what it relies on. The cases of a
function take turns: one over a server, the next one in shared memory. Where a case has more than three storages, as
moves have, it runs over two of them.

The cases of a table prove one sentence of various values, and most of them take processes of their own. Those of a test
that wears `every_case` all run. With `SHARDQ_FAULTS=all` each case runs, over each storage.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.able import required_by
from tests.support.chance import EVERYTHING, SEED
from tests.support.drivers import Driver
from tests.support.homes import SegmentHome, ServerHome
from tests.support.ids import without
from tests.support.loops import BOTH
from tests.support.other_core import is_other
from tests.support.places import PLACES

_TESTS = Path(__file__).parents[1]
#: Faults whose cases are a table, too, and take servers and families of their own.
_FAULTS = ("test_kill_callers", "test_kill_tickets", "test_redis_callers", "test_redis_tickets")
_FAULTS += ("test_redis_fail_over", "test_redis_outages_callers")
#: The mark of a test of which a run takes each case.
EVERY_CASE = "every_case"
#: From so many storages on, a case runs over two of them.
_MANY = 4

_HOMES = {SegmentHome: ("segment", "SegmentHome"), ServerHome: ("server", "ServerHome")}


def chosen_by_name(config: pytest.Config) -> bool:
    """Whether tests are run that were asked for, by their names or by words in them."""
    return bool(config.option.keyword) or any("::" in argument for argument in config.args)


def other_cases(items: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
    """All but every other case of each table."""
    if EVERYTHING:
        return
    functions = defaultdict[str, list[pytest.Item]](list)
    for item in items:
        in_half = item.path.is_relative_to(_TESTS / "system") or item.path.stem in _FAULTS
        if in_half and not item.get_closest_marker(EVERY_CASE) and not is_other(item):
            functions[item.nodeid.partition("[")[0]].append(item)
    for function, cases in functions.items():
        random = Random(f"{os.environ[SEED]} cases of {function}")
        yield from random.sample(sorted(cases, key=lambda item: item.nodeid), len(cases) // 2)


def other_storages(items: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
    """The tests without which a run goes. What was chosen by its name is drawn from alone, and so it runs."""
    if EVERYTHING:
        return
    functions = defaultdict[str, dict[str, list[pytest.Function]]](lambda: defaultdict(list))
    for item in items:
        if isinstance(item, pytest.Function) and (case := _case_of(item)) is not None:
            functions[item.nodeid.partition("[")[0]][case].append(item)
    for function, cases in functions.items():
        first = Random(f"{os.environ[SEED]} {function}").randrange(1 << 16)
        for number, case in enumerate(sorted(cases), first):
            drawn = _drawn(cases[case], number)
            yield from (item for item in cases[case] if item not in drawn)


def _drawn(items: Sequence[pytest.Function], number: int) -> list[pytest.Function]:
    able = [item for item in items if all(required_by(item) <= each.capabilities for each in _drivers_of(item))]
    able = sorted(able or items, key=lambda item: item.nodeid)
    count = 1 if len(able) < _MANY else 2
    return [able[(number + turn * (len(able) // count)) % len(able)] for turn in range(count)]


def _case_of(item: pytest.Function) -> str | None:
    """What tells a test from others of its function that run over the same storage. None: it runs over one alone."""
    if not hasattr(item, "callspec"):
        return None
    storages = [value for value in item.callspec.params.values() if _is_drawn_from(item, value)]
    if not storages:
        return None
    return without(item.nodeid, *BOTH, *(name for value in storages for name in _names(value)))


def _names(storage: Any) -> Sequence[str]:
    """What the name of a test may call what it runs over."""
    if isinstance(storage, str):
        return [storage]
    if isinstance(storage, Driver):
        return [storage.name]
    return [" to ".join(driver.name for driver in storage)] if _is_pair(storage) else _HOMES[storage]


def _is_drawn_from(item: pytest.Item, value: Any) -> bool:
    """Whether a parameter says over what it runs. Models run over each driver, and are moved between some of them."""
    if item.path.is_relative_to(_TESTS / "property"):
        return _is_pair(value)
    if not item.path.is_relative_to(_TESTS / "system"):
        return False
    if isinstance(value, str):
        return value in PLACES
    return isinstance(value, Driver) or _is_pair(value) or value in (SegmentHome, ServerHome)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(each, Driver) for each in value)


def _drivers_of(item: pytest.Function) -> Iterator[Driver]:
    return (value for value in item.callspec.params.values() if isinstance(value, Driver))
