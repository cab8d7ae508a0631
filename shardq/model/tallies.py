"""Figures of a handler, as operators see them: what was counted, how fast it goes, and how long things take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

#: Why an attempt failed: its handler raised, its worker died, it took longer than `Handler.timeout_s`, or the message
#: was no request.
Reason = Literal["raised", "died", "timeout", "undecodable"]
REASONS: tuple[Reason, ...] = ("raised", "died", "timeout", "undecodable")

#: What a call does that finds no room: it waits for it, or raises `QueueFull`.
Full = Literal["waited", "raised"]
FULLS: tuple[Full, ...] = ("waited", "raised")

#: How a worker died: it was killed by KILL, as for lack of memory, or by another signal, as a crash of native code; it
#: ended itself; its supervisor killed it because its handler hung; or no supervisor saw how.
Died = Literal["killed", "signal", "exited", "hung", "unknown"]
DIED: tuple[Died, ...] = ("killed", "signal", "exited", "hung", "unknown")

#: Times are counted in so many buckets. The last one has all that is longer than the bound before it.
BUCKETS = 64
_FIRST_EXPONENT = -20
#: Most seconds of what each bucket has.
BOUNDS_S: tuple[float, ...] = (*(2.0 ** (_FIRST_EXPONENT + place / 2) for place in range(BUCKETS - 1)), math.inf)
#: For times in nanoseconds of so many bits: the bucket of the shortest, and behind which times the next two begin.
STEPS: tuple[tuple[int, float, float], ...] = tuple(
    (place, BOUNDS_S[place] * 1e9, BOUNDS_S[min(place + 1, BUCKETS - 1)] * 1e9)
    for bits in range(65)
    for place in [next(place for place, bound in enumerate(BOUNDS_S) if (1 << bits >> 1) <= bound * 1e9)]
)


def bucket_of(nanoseconds: int) -> int:
    """The bucket that a time belongs to: the first one whose bound is not below it. Called twice for each batch."""
    place, first, second = STEPS[nanoseconds.bit_length()]
    return place + (nanoseconds > first) + (nanoseconds > second)


@dataclass(frozen=True, slots=True)
class Times:
    """How long something took, each time since the storage was made."""

    count: int
    buckets: tuple[int, ...]
    """How many were in each bucket, whose bounds are `BOUNDS_S`."""
    p50_s: float | None
    """At most so long were half of them, within a factor of the square root of two. None: there were none."""
    p95_s: float | None
    p99_s: float | None

    @classmethod
    def counted(cls, buckets: Sequence[int]) -> Times:
        """From the counts of the buckets."""
        count = sum(buckets)
        return cls(count, tuple(buckets), *(percentile(buckets, part) for part in (0.5, 0.95, 0.99)))


@dataclass(frozen=True, slots=True)
class HandlerView:
    """A handler, by what was counted since the storage was made, and by rates of the last seconds."""

    handler: str
    """`module/Handler`; `other` stands for those beyond the first 254."""
    accepted: int
    """Requests that came into its tubes."""
    done: int
    """Requests that were handled."""
    dead: int
    """Requests that became dead letters."""
    cancelled: int
    """Requests that were taken out."""
    failed: dict[str, int]
    """Attempts that failed, by reason: `raised`, `died`, `timeout`, `undecodable`."""
    batches: int
    busy_s: float
    """For how long its workers had batches in hand."""
    accepted_per_s: float
    """Over the last ten seconds or so, later ones with more weight."""
    done_per_s: float
    wait: Times
    """From when the oldest request of a batch was accepted until it was handed out, once for each batch."""
    work: Times
    """For how long a batch was in hand."""
    waited_s: float
    """The sum of all times in `wait`; that of those in `work` is `busy_s`."""
    full: dict[str, int]
    """Calls that found no room: those that `waited` for it, and those that `raised` `QueueFull`."""


def percentile(buckets: Sequence[int], part: float) -> float | None:
    """The bound below which this part of what was counted lies; that of the last bucket is the one before. None:
    nothing was counted.
    """
    wanted = math.ceil(part * sum(buckets))
    if not wanted:
        return None
    place = next(place for place, below in enumerate(accumulate(buckets)) if below >= wanted)
    return BOUNDS_S[min(place, BUCKETS - 2)]
