"""How a worker leaves producers time while requests come a few at a time: small batches, one at once after the other.

Such a worker is inside the guard most of its time, and a producer gets in once for each of its batches. Where the
worker pauses between them, the producer gets in several times, and the next batches are larger. With single requests in
16 threads 31,000 a second pass, and 17,000 without it; each costs the worker half of the processor time. A handler that
does something is a pause already.
"""

from __future__ import annotations

import time
from collections.abc import Callable

#: Requests of a batch that are few, and how many such batches in a row, without sleep, a worker takes without pauses.
_FEW, _AT_ONCE = 8, 32
#: What a handler that does next to nothing takes at most, in seconds.
_NOTHING_S = 100e-6
#: How long a pause is, in seconds. The event loop, which has its turn every millisecond, does not notice it.
_PAUSE_S = 20e-6


class Pace:
    """The pauses of the workers of one process."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock = clock
        self._pause = pause
        self._in_a_row = 0
        self._handed_out_s = 0.0
        """When a batch was handed out last, monotonic."""

    def handed_out(self) -> None:
        """A worker got a batch."""
        self._handed_out_s = self._clock()

    def slept(self) -> None:
        """A worker found nothing to do."""
        self._in_a_row = 0

    def handled(self, count: int) -> None:
        """A worker handled so many requests, and is about to acknowledge them: pause if that is due."""
        if count > _FEW or self._clock() - self._handed_out_s > _NOTHING_S:
            self._in_a_row = 0
            return
        self._in_a_row += 1
        if self._in_a_row > _AT_ONCE:
            self._pause(_PAUSE_S)
