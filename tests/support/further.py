"""On which of the further drivers of a technology a case runs: on one, which the seed draws, as all of them keep the
same contract. With `SHARDQ_FAULTS=all` on each of them, with `--one-of-each` on none.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from random import Random

import pytest

from tests.support.able import required_by
from tests.support.chance import EVERYTHING, SEED
from tests.support.drivers import ONE_OF_EACH, Driver


def left_out(items: Sequence[pytest.Item], *, one_of_each: bool) -> list[pytest.Item]:
    """The tests without which a run goes. What was chosen by its name is drawn from alone, and so it runs."""
    if EVERYTHING and not one_of_each:
        return []
    cases = defaultdict[tuple[str, str], list[pytest.Item]](list)
    for item in items:
        driver = _driver_of(item)
        if driver and driver not in ONE_OF_EACH:
            # The name of the case is without its driver's.
            cases[driver.name.partition(",")[0], item.nodeid.replace(driver.name, "")].append(item)
    return [item for case, its in cases.items() for item in its if one_of_each or item is not _drawn(case, its)]


def _drawn(case: tuple[str, str], items: Sequence[pytest.Item]) -> pytest.Item:
    """One of the tests of a case, on a driver that is able where there is one. The same for each of them."""
    able = [item for item in items if (its := _driver_of(item)) and required_by(item) <= its.capabilities]
    return Random(f"{os.environ[SEED]} {case}").choice(able or items)


def _driver_of(item: pytest.Item) -> Driver | None:
    found = item.callspec.params.get("driver") if hasattr(item, "callspec") else None
    return found if isinstance(found, Driver) else None
