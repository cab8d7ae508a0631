"""On which of the further drivers a case runs: on one, which the seed draws, as all of them keep the same contract. It
draws a technology first. With `SHARDQ_FAULTS=all` on each of them, with `--one-of-each` on none.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from random import Random

import pytest

from tests.support.able import required_by
from tests.support.chance import EVERYTHING, SEED
from tests.support.drivers import ONE_OF_EACH, Driver
from tests.support.ids import without
from tests.support.loops import BOTH


def left_out(items: Sequence[pytest.Item], *, one_of_each: bool) -> list[pytest.Item]:
    """The tests without which a run goes. What was chosen by its name is drawn from alone, and so it runs."""
    if EVERYTHING and not one_of_each:
        return []
    cases = defaultdict[str, dict[str, list[pytest.Item]]](lambda: defaultdict(list))
    for item in items:
        driver = _driver_of(item)
        if driver and driver not in ONE_OF_EACH:
            case = without(item.nodeid, *BOTH, driver.name)  # which has each driver on one of both loops
            cases[case][driver.name.partition(",")[0]].append(item)
    return [item for case, its in cases.items() for item in _undrawn(case, its, one_of_each=one_of_each)]


def _undrawn(case: str, technologies: Mapping[str, Sequence[pytest.Item]], *, one_of_each: bool) -> list[pytest.Item]:
    items = [item for its in technologies.values() for item in its]
    if one_of_each:
        return items
    able = {name: its for name in sorted(technologies) if (its := [*filter(_is_able, technologies[name])])}
    random = Random(f"{os.environ[SEED]} {case}")
    drawn = random.choice(random.choice([*able.values()] or [items]))
    return [item for item in items if item is not drawn]


def _is_able(item: pytest.Item) -> bool:
    driver = _driver_of(item)
    return driver is not None and required_by(item) <= driver.capabilities


def _driver_of(item: pytest.Item) -> Driver | None:
    found = item.callspec.params.get("driver") if hasattr(item, "callspec") else None
    return found if isinstance(found, Driver) else None
