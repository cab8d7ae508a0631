"""Delays as two figures."""

from __future__ import annotations

from collections.abc import Sequence


def percentiles_us(delays_ns: Sequence[int]) -> dict[str, float]:
    """The median and the 99th percentile, in microseconds."""
    ordered = sorted(delays_ns)
    return {name: ordered[len(ordered) * part // 100] / 1000 for name, part in (("p50_us", 50), ("p99_us", 99))}
