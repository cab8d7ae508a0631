"""How workers leave producers time where requests come fast, and a few at a time.

A worker whose handler takes next to nothing comes back to the guard at once. There it meets the producer, finds a
request or two, and soon none: then it sleeps, and each request has to ring it. That costs ten times what handling a
request costs. So where workers and producers meet in the guard, a worker pauses after each small batch, and the next
batches are larger. Pauses become longer while they meet, and soon shorter while they do not. The more workers are at
work, the longer each pauses. A handler that does something is a pause already.
"""

from __future__ import annotations

import time
from collections.abc import Callable

#: Requests of a batch that are few, for each worker that is at work.
_FEW = 4
#: What a handler that does next to nothing takes at most, in seconds.
_NOTHING_S = 100e-6
#: How many seconds lie between two requests at most that come fast. One that comes alone costs a worker as much.
_FAST_S = 120e-6
#: By how many steps the pauses grow where the guard was taken, and how many there are. They shrink by one.
_GROWTH, _STEPS = 3, 8
#: How long a pause is for each step and each worker that is at work, and at most, in seconds. The event loop has its
#: turn every millisecond.
_STEP_S, _LONGEST_S = 50e-6, 1e-3


class Pace:
    """The pauses of the workers of one process. `accepted` tells how many requests the storage has accepted so far,
    and `at_work` how many workers of all processes have a batch in hand.
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
        self._known = self.waited = 0
        """How many requests had been accepted when one was handled, or came from this process since; and how often it
        had waited for the guard.
        """
        self.step = 0
        """How long the pauses are now, 0: there are none. Then `handled` has nothing to do while the process did not
        wait for the guard again, and `handed_out` has nothing to do at all: the storage need not
        call them."""
        self._is_due = False
        """Whether the last batch had a pause."""

    def handed_out(self) -> None:
        """A worker got a batch."""
        if self.step:
            self._handed_out_s = self._clock()

    def registered(self, count: int) -> None:
        """This process registered so many requests itself, as a handler does: it need not wait for these."""
        self._known += count

    def handled(self, count: int, waited: int) -> None:
        """A worker handled so many requests, and is about to acknowledge them: pause if that is due. `waited`: how
        often this process found the guard taken so far.
        """
        met, self.waited = waited != self.waited, waited
        if not met and not self.step:
            return
        now_s, accepted = self._clock(), self._accepted()
        came, passed_s = accepted - self._known, now_s - self._handled_s
        self._handled_s, self._known = now_s, accepted
        # The first batch in which they meet has no pause: when it was handed out is not known.
        self.step = min(self.step + _GROWTH, _STEPS) if met else max(self.step - 1, 0)
        # Not where a producer waits for this batch before it sends the next request.
        fast = came > count and passed_s < came * _FAST_S
        at_once = now_s - self._handed_out_s <= _NOTHING_S
        self._is_due = self.step > 0 and fast and at_once and count <= _FEW * self._workers()
        if self._is_due:
            self._leave_time()

    def before_sleep(self) -> None:
        """A worker finds nothing to do, and is about to sleep: pause if more is likely to come."""
        if self._is_due:
            self._is_due = False
            self._leave_time()

    def _leave_time(self) -> None:
        self._pause(min(_STEP_S * self.step * self._workers(), _LONGEST_S))

    def _workers(self) -> int:
        return max(1, self._at_work())
