"""An open-loop producer: it sends at a rate of its own, however far behind the consumer is."""

from __future__ import annotations

import time
from collections.abc import Callable


def paced(send: Callable[[int], object], count: int, per_s: float) -> None:
    """Calls `send(0)`, `send(1)` and so on, each at its time, or at once where that is over."""
    start = time.perf_counter()
    for number in range(count):
        left_s = start + number / per_s - time.perf_counter()
        if left_s > 0:
            time.sleep(left_s)
        send(number)
