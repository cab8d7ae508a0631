"""A trading rule on a large array of prices, and how good it is. Knows nothing of queues or pools.

The array is made, or read, when this module is imported. A family that imports it before it forks has it once in memory
for all workers, as long as they only read it.
"""

from __future__ import annotations

import os
from itertools import product
from typing import NamedTuple

# Each worker has a core of its own, so numpy needs no threads; and of a process with threads no worker can be forked.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

#: How many days there are prices for.
DAYS = int(os.environ.get("SWEEP_DAYS", "5000"))
#: Prices of 200 shares, which stand for a file that takes long to read.
PRICES = np.exp(np.cumsum(np.random.default_rng(1).normal(0.0002, 0.01, (200, DAYS)), axis=1))
PRICES.setflags(write=False)
#: The process that made them.
MADE_BY = os.getpid()


class Rule(NamedTuple):
    """Hold a share while its mean of the last `fast` days is above that of the last `slow` ones."""

    fast: int
    slow: int
    seed: int
    """Of the random numbers. It is the request's own, so the result is the same in whichever worker it is made."""


class Score(NamedTuple):
    """How good a rule is: mean gain by its deviation, over a year, and the range of that in 19 of 20 samples."""

    rule: Rule
    ratio: float
    low: float
    high: float


def grid(fast: range, slow: range) -> list[Rule]:
    """The rules to try."""
    pairs = ((one, other) for one, other in product(fast, slow) if one < other)
    return [Rule(one, other, seed) for seed, (one, other) in enumerate(pairs)]


def score(rule: Rule) -> Score:
    """How good a rule is."""
    held = _mean(rule.fast)[:, rule.slow - rule.fast :] > _mean(rule.slow)
    gains = np.diff(np.log(PRICES[:, rule.slow - 1 :]), axis=1)
    daily = (gains * held[:, :-1]).mean(axis=0)
    samples = np.random.default_rng(rule.seed).choice(daily, (40, daily.size))
    low, high = np.quantile(_ratio(samples), (0.025, 0.975))
    return Score(rule, float(_ratio(daily)), float(low), float(high))


def best(scores: list[Score]) -> str:
    """The best five as a table."""
    lines = [f"{'fast':>6}{'slow':>6}{'ratio':>8}{'low':>8}{'high':>8}"]
    for rule, ratio, low, high in sorted(scores, key=lambda its: its.ratio, reverse=True)[:5]:
        lines.append(f"{rule.fast:>6}{rule.slow:>6}{ratio:>8.2f}{low:>8.2f}{high:>8.2f}")
    return "\n".join(lines)


def made_by(rule: Rule) -> tuple[int, int]:
    """The process that made the prices of this one, and this one."""
    return MADE_BY, os.getpid()


def _mean(days: int) -> np.ndarray:
    """The mean of the last days, for each day that has so many before it."""
    sums = np.cumsum(PRICES, axis=1)
    sums[:, days:] = sums[:, days:] - sums[:, :-days]
    return sums[:, days - 1 :] / days


def _ratio(daily: np.ndarray) -> np.ndarray:
    return daily.mean(axis=-1) / daily.std(axis=-1) * np.sqrt(252)
