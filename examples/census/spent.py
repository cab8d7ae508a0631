"""What a piece of work took: time, and the work of the processors in that time."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

T = TypeVar("T")

#: A family that could use so much less of the processors than it has workers was kept from them by other programs. Its
#: start and its end, when not all of it can work, are a twentieth of the whole census.
KEPT_FROM_WORK = 0.8


class Spent(NamedTuple):
    """What a piece of work took, the processes that it started and waited for included."""

    wall_s: float
    processors_s: float

    @property
    def processors(self) -> float:
        """How many processors it had, on average."""
        return self.processors_s / self.wall_s


def timed(work: Callable[[], T]) -> tuple[T, Spent]:
    """Do the work; its result and what it took."""
    began, used_s = time.perf_counter(), _processors_s()
    result = work()
    return result, Spent(time.perf_counter() - began, _processors_s() - used_s)


def comparison(plain: Spent, shardq: Spent, workers: int, processors: int) -> list[str]:
    """Lines that compare the two; the last one says so where this machine had too little left for the comparison.

    A speed-up below 1 is possible then. With `kernel.sched_autogroup_enabled`, Linux gives each session the same share,
    however many processes it has. Beside two busy processes of another session, on two processors, the loop had 0.67 of
    a processor, and two workers had 0.64 together: a speed-up of 0.77. Beside two of the same session it was 1.26.
    """
    lines = [
        f"plain loop: {_said(plain)}",
        f"shardq, workers: {workers}: {_said(shardq)}, {shardq.wall_s / plain.wall_s:.2f} of the plain loop's time, "
        f"speed-up {plain.wall_s / shardq.wall_s:.2f}",
    ]
    usable = min(workers, processors)
    if plain.processors < KEPT_FROM_WORK or shardq.processors < KEPT_FROM_WORK * usable:
        lines.append(
            f"other programs kept the processors busy: the loop had {plain.processors:.2f} of 1, shardq "
            f"{shardq.processors:.2f} of {usable}, so the speed-up says more about them; by the work of the processors "
            f"alone it would be {usable * plain.processors_s / shardq.processors_s:.2f}"
        )
    return lines


def _said(spent: Spent) -> str:
    return f"{spent.wall_s:.2f} s ({spent.processors_s:.2f} s of processors)"


def _processors_s() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
