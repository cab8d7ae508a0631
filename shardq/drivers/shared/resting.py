"""One `rest` that has lain down, or has found the guard held: until it finds work, or its time is over.

As soon as the bell rings, the event loop's own callback looks for work. The coroutine that waits goes on with what that
found: a turn of the loop less, for which the request that rang would wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from shardq.behind import behind
from shardq.drivers.shared.due import promote_what_is_due
from shardq.drivers.shared.waiters import Deadline, until_free
from shardq.errors import SegmentBusy
from shardq.model import Hand, Terms
from shardq.protocols import Served
from shardq.shm.verbs.delivering import Rest

if TYPE_CHECKING:
    from shardq.drivers.shared.storage import SharedStorage


class Resting:
    """`asleep`: whether this process counts as asleep, and so has to rise."""

    def __init__(
        self, storage: SharedStorage, served: Served, terms: Mapping[str, Terms], timeout_s: float | None, *, stay: bool
    ) -> None:
        self._storage = storage
        self._store = storage.store
        self._served = served
        self._terms = terms
        self._stay = stay
        self._deadline = Deadline(timeout_s)
        self._hand: Hand | None = None
        self._since = -1
        """When it looked last, for `Ears.listening`."""
        self.asleep = False

    async def until_work(self, found: Rest, since: int) -> Hand | None:
        """The hand that it ends with. `found` and `since` are of the first look."""
        self._since, self.asleep, waits = since, found.asleep, found.asleep
        while True:
            self._hand = found.hand
            rest = await self._rung(found.wait_s) if waits else None
            if rest is None:
                rest = await self._looked()
            waits = rest is not None
            if rest is None:
                if self._deadline.over:
                    return self._hand
                # A worker without a batch hears of its end also while another process does not leave the guard.
                await self._deadline.pause()
                continue
            found = rest
            if not rest.asleep:
                pace = self._storage.pace
                if pace.step:
                    pace.handed_out()
                return rest.hand

    async def _rung(self, wait_s: float | None) -> Rest | None:
        """What was found when the bell rang. None: it did not, or another process did not leave the guard."""
        net_s, ears = self._storage.net_s(), self._storage.ears
        heard = ears.listen(deaths=True, since=self._since, look=self._look)
        timer = self._deadline.timer(heard, net_s if wait_s is None else min(wait_s, net_s))
        try:
            told: Rest | None = await heard
            return told
        except asyncio.CancelledError:
            self._give_up(heard)
            raise
        finally:
            timer.cancel()
            ears.end(heard)

    async def _looked(self) -> Rest | None:
        """What there is. None: another process does not leave the guard, and this one has no batch in hand."""
        if self._hand and self._hand.batch.count:
            return await self._storage.patiently(self._listened_and_looked)
        try:
            return self._listened_and_looked()
        except SegmentBusy:
            return None

    def _listened_and_looked(self) -> Rest:
        self._since = self._storage.ears.ready()
        return self._look()

    def _look(self) -> Rest:
        if self._store.may_be_due:  # asked here as well: a call less for each request that wakes a worker
            promote_what_is_due(self._store)
        found = self._store.delivering.rest(
            self._hand,
            self._served,
            self._terms,
            stay=self._stay,
            asleep=self.asleep,
            may_sleep=not self._deadline.over,
        )
        self.asleep = found.asleep
        return found

    def _give_up(self, heard: asyncio.Future[Rest | None]) -> None:
        """The coroutine was cancelled, perhaps in the very turn of the loop in which the bell rang. A thread that was
        claimed then is not wanted.
        """
        if not heard.done() or heard.cancelled() or heard.exception() is not None:
            return
        told = heard.result()
        hand = told and told.hand
        if not hand or (self._hand and hand.token == self._hand.token):
            return
        delivering = self._store.delivering
        try:
            delivering.unclaim(hand.key, hand.token)
        except SegmentBusy:
            behind(until_free(lambda: delivering.unclaim(hand.key, hand.token)))
