"""How workers leave producers time where requests come a few at a time.

A worker whose handler takes next to nothing comes back to the guard at once. There it meets the producer, finds a
request or two, and soon none: then it sleeps, and each request has to ring it. That costs ten times what handling a
request costs. So it pauses after a small batch during which requests came, and the next batches are larger. All
workers together come to the guard once in a while: the more of them are at work, the longer is the pause of each. A
handler that does something is a pause already.
"""

from __future__ import annotations

import time
from collections.abc import Callable

#: Requests of a batch that are few, for each worker that is at work.
_FEW = 4
#: What a handler that does next to nothing takes at most, in seconds.
_NOTHING_S = 100e-6
#: For how long requests that came count.
_LATELY_S = 0.002
#: How long a worker pauses, in seconds, for each worker that is at work, up to so many. The event loop, which has its
#: turn every millisecond, hardly notices it.
_PAUSE_S, _MOST_WORKERS = 150e-6, 8


class Pace:
    """The pauses of the workers of one process. `accepted` tells how many requests the storage has accepted so far, and
    `at_work` how many workers of all processes have a batch in hand.
    """

    def __init__(
        self,
        accepted: Callable[[], int],
        at_work: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._accepted = accepted
        self._at_work = at_work
        self._clock = clock
        self._pause = pause
        self._handed_out_s = self._handled_s = 0.0
        """When a batch was handed out last, and when one was handled; monotonic."""
        self._known = 0
        """How many requests had been accepted then, or came from this process since."""
        self._trickles = False
        """Whether requests come a few at a time, as far as the last batch tells."""

    def handed_out(self) -> None:
        """A worker got a batch."""
        self._handed_out_s = self._clock()

    def registered(self, count: int) -> None:
        """This process registered so many requests itself, as a handler does: it need not wait for these."""
        self._known += count

    def handled(self, count: int) -> None:
        """A worker handled so many requests, and is about to acknowledge them: pause if that is due."""
        now_s, accepted = self._clock(), self._accepted()
        at_once = now_s - self._handed_out_s <= _NOTHING_S
        # Not where a producer waits for this batch before it sends the next request.
        more_came = accepted - self._known > count and now_s - self._handled_s < _LATELY_S
        self._handled_s, self._known = now_s, accepted
        self._trickles = at_once and more_came and count <= _FEW * self._workers()
        if self._trickles:
            self._leave_time()

    def before_sleep(self) -> None:
        """A worker finds nothing to do, and is about to sleep: pause if more is likely to come."""
        if self._trickles:
            self._trickles = False
            self._leave_time()

    def _leave_time(self) -> None:
        self._pause(_PAUSE_S * self._workers())

    def _workers(self) -> int:
        return min(max(1, self._at_work()), _MOST_WORKERS)
