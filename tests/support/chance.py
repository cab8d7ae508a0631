"""What a run leaves to chance: one seed for all of it, and how much of what could be tried was tried.

Both belong to the run, also where several processes run tests for it: these inherit the seed, and the figures travel
with the reports of the tests.
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random
from typing import TypeVar

import pytest

#: Environment variable that repeats a run.
SEED = "SHARDQ_FAULTS_SEED"

#: Whether a run tries all that it would draw from otherwise.
EVERYTHING = os.environ.get("SHARDQ_FAULTS") == "all"

T = TypeVar("T")

#: Name of the property of a test that holds a figure.
_FIGURE = "tried"


def choose_seed() -> None:
    """Before any process is started that runs tests."""
    os.environ[SEED] = os.environ.get(SEED) or str(secrets.randbelow(1_000_000))


def sample_of_run(cases: Sequence[T], count: int) -> list[T]:
    """So many of the cases of a test, in the order of a draw, or all. The same in each process that runs tests."""
    return list(cases) if EVERYTHING else Random(os.environ.get(SEED)).sample(cases, min(count, len(cases)))


def seed_line() -> str:
    return f"faults: {SEED}={os.environ[SEED]}"


def add_figure(item: pytest.Item, name: str, count: int) -> None:
    """Note that a test tried so many of something."""
    item.user_properties.append((_FIGURE, (name, count)))


def figures(reports: Iterable[object]) -> str:
    """The sums of what the tests with these reports tried."""
    tried: Counter[str] = Counter()
    for report in reports:
        if isinstance(report, pytest.TestReport) and report.when == "call":
            for name, value in report.user_properties:
                if name == _FIGURE:
                    what, count = value  # type: ignore[misc]
                    tried[what] += count
    return ", ".join(f"{count} {name}" for name, count in sorted(tried.items()))
