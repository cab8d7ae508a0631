"""What is said of a map: how many results a second, and what part of what its workers could do."""

from __future__ import annotations

from bench.harness.contestant import Figures


def mapped(count: int, seconds: float, workers: int, elapsed_s: float) -> Figures:
    """`seconds`: of processor time for each request, 0 for none."""
    if not seconds:
        return {"results_per_s": count / elapsed_s}
    return {"of_ideal": count * seconds / workers / elapsed_s}
