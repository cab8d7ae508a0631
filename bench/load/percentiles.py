"""Delays as two figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.harness.scenario import Figure

DELAYS = (
    Figure("p50_us", "median delay", "us", less_is_better=True),
    Figure("p99_us", "99th percentile of the delays", "us", less_is_better=True),
)


def warm_percentiles_us(delays_ns: Sequence[int]) -> dict[str, float]:
    """As `percentiles_us`, of those behind the first tenth: by then the processes are warm."""
    return percentiles_us(delays_ns[len(delays_ns) // 10 :])


def percentiles_us(delays_ns: Iterable[int]) -> dict[str, float]:
    """The median and the 99th percentile, in microseconds."""
    ordered = sorted(delays_ns)
    return {name: ordered[len(ordered) * part // 100] / 1000 for name, part in (("p50_us", 50), ("p99_us", 99))}
