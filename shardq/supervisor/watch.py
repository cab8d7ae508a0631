"""What the supervisor's loop waits for, and what it does when the system refuses something.

The system may have no descriptor or memory left, or refuse a fork or a look at another process. Then the supervisor
logs that and tries again a little later. It never ends because of it while its workers serve.
"""

from __future__ import annotations

import logging
import select
import selectors
import time
from collections.abc import Callable

from shardq.supervisor.workers.member import Member
from shardq.text.portrait import portrait
from shardq.text.printable import type_name

log = logging.getLogger("shardq.supervisor")

#: What a step of the loop may raise although the next try may succeed.
REFUSALS = (OSError, MemoryError)
#: How long the loop rests after such a refusal. Meanwhile it hears only signals.
PAUSE_S = 1.0
#: How soon to look again at members that have no descriptor.
_BLIND_INTERVAL_S = 1.0
#: `select` takes no more than 24 days at a time.
_LONGEST_WAIT_S = 86400.0

Step = Callable[[], None]


class Watch:
    """Runs a step for each descriptor that has news. `signals` is the one that is heard even while all others rest.
    After a rest `again` is run, for a step that was refused half done.
    """

    def __init__(self, signals: int, on_signals: Step, again: Step) -> None:
        self._signals = signals
        self._on_signals = on_signals
        self._again = again
        self._selector = selectors.DefaultSelector()
        self._blind: dict[int, Step] = {}
        """For members without a descriptor, by pid."""
        self._rest_until: float | None = None
        self._told = ""
        """The last refusal that was logged: a refusal that lasts is logged once."""
        self.add(signals, on_signals)

    @property
    def descriptor(self) -> int:
        """The selector's own, which no child may keep."""
        return self._selector.fileno()

    def add(self, descriptor: int, step: Step) -> None:
        """Run the step whenever there is something to read. Raises `OSError`."""
        self._selector.register(descriptor, selectors.EVENT_READ, step)

    def remove(self, descriptor: int) -> None:
        self._selector.unregister(descriptor)

    def add_member(self, member: Member, step: Step) -> None:
        """Run the step when the process has ended; without a descriptor for it, from time to time."""
        if member.descriptor < 0 or not self.step(lambda: self.add(member.descriptor, step)):
            self._blind[member.pid] = step

    def discard_member(self, member: Member) -> None:
        """Stop waiting for the member, and close its descriptor."""
        if self._blind.pop(member.pid, None) is None:
            self.remove(member.descriptor)
        member.close()

    def step(self, step: Step) -> bool:
        """Run the step. False: the system refused it, and the loop rests for a while."""
        try:
            step()
        except REFUSALS as error:
            self._refused(error)
            return False
        return True

    def wait(self, timeout_s: float | None) -> None:
        """Wait for news, at most so many seconds (None: without end), and run the steps of all descriptors that have
        some.
        """
        if not self._rested():
            return
        if self._blind:
            timeout_s = _BLIND_INTERVAL_S if timeout_s is None else min(timeout_s, _BLIND_INTERVAL_S)
        for key, _ in self._selector.select(None if timeout_s is None else min(timeout_s, _LONGEST_WAIT_S)):
            self.step(key.data)
        for step in list(self._blind.values()):
            self.step(step)

    def _rested(self) -> bool:
        """After a refusal, rest until it can be tried again, or until signals arrive. Whether no rest is left."""
        if self._rest_until is None:
            return True
        left_s = self._rest_until - time.monotonic()
        if left_s > 0:
            self._hear_signals(left_s)
            return False
        self._rest_until = None
        self.step(self._again)
        if self._rest_until is None:
            self._told = ""
        return self._rest_until is None

    def close(self) -> None:
        self._selector.close()

    def _hear_signals(self, timeout_s: float) -> None:
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        if poll.poll(timeout_s * 1000):
            self.step(self._on_signals)

    def _refused(self, error: BaseException) -> None:
        self._rest_until = time.monotonic() + PAUSE_S
        text = f"{type_name(type(error))}: {portrait(error)}"
        if text != self._told:
            self._told = text
            log.error("the system refuses something, trying again", extra={"error": text}, exc_info=error)
