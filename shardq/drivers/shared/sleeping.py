"""Sleeping until there is work in a segment: `wait`, which says where it is, and `rest`, which claims and hands it out.
And until there is none: `wait_for_quiet`.

All say that this process sleeps in the section in which they find nothing. So a process that changes it after that
section rings this one, and no ring is missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from shardq.drivers.shared.waiters import LOOK_S, Deadline
from shardq.errors import SegmentBusy
from shardq.model import Hand, Terms
from shardq.protocols import Served
from shardq.shm.verbs.delivering import Rest

if TYPE_CHECKING:
    from shardq.drivers.shared.storage import SharedStorage


class Sleeping:
    """The verbs of a storage that sleep until there is work, or none."""

    def __init__(self, storage: SharedStorage) -> None:
        self._storage = storage

    async def wait(self, served: Served, timeout_s: float | None, bound: str | None) -> str | None:
        """See `Storage.wait`."""
        key = self._find_work(served, bound)
        if key is not None or timeout_s == 0:
            return key
        deadline = Deadline(timeout_s)
        while key is None:
            if deadline.over:
                return None
            try:
                key = await self._until_work(deadline, served, bound)
            except SegmentBusy:
                await deadline.pause()
        return key

    async def wait_for_quiet(self, timeout_s: float | None, *, deferred: bool) -> bool:
        """See `Storage.wait_for_quiet`."""
        storage, deadline = self._storage, Deadline(timeout_s)
        free_by = Deadline(None if timeout_s is None else max(timeout_s, LOOK_S))
        while True:
            try:
                with storage.ears.listening() as heard:
                    if storage.store.waiting.quiet(deferred=deferred):
                        return True
                    if deadline.over:
                        return False
                    await deadline.wait(heard, storage.settings.safety_net)
            except SegmentBusy:
                if free_by.over:
                    return False
                await free_by.pause()

    async def rest(
        self, hand: Hand | None, served: Served, terms: Mapping[str, Terms], timeout_s: float | None, *, stay: bool
    ) -> Hand | None:
        """See `Storage.rest`."""
        storage = self._storage
        storage.promote_what_is_due()
        may_sleep = timeout_s != 0
        if may_sleep:
            storage.pace.before_sleep()
        try:
            since = storage.ears.ready()
            found = storage.store.delivering.rest(hand, served, terms, stay=stay, may_sleep=may_sleep)
        except SegmentBusy:
            since, found = -1, Rest(hand, asleep=False)
        else:
            if not found.asleep:
                storage.pace.handed_out()
                return found.hand
        return await self._slept(found, since, hand, served, terms, timeout_s, stay=stay)

    async def _slept(
        self,
        found: Rest,
        since: int,
        hand: Hand | None,
        served: Served,
        terms: Mapping[str, Terms],
        timeout_s: float | None,
        *,
        stay: bool,
    ) -> Hand | None:
        """What a `rest` finds that has lain down, or has found the guard held."""
        storage, deadline = self._storage, Deadline(timeout_s)
        asleep = waits = found.asleep

        def look() -> Rest:
            nonlocal since
            since = storage.ears.ready()
            delivering = storage.store.delivering
            return delivering.rest(hand, served, terms, stay=stay, asleep=asleep, may_sleep=not deadline.over)

        try:
            while True:
                hand = found.hand
                if waits:
                    net_s = self.net_s()
                    with storage.ears.listening(deaths=True, since=since) as heard:
                        await deadline.wait(heard, net_s if found.wait_s is None else min(found.wait_s, net_s))
                storage.promote_what_is_due()
                try:
                    found = await storage.patiently(look) if hand and hand.batch.count else look()
                except SegmentBusy:
                    if hand and hand.batch.count:
                        raise
                    if deadline.over:
                        return hand
                    # A worker without a batch hears of its end also while another process does not leave the guard.
                    waits = False
                    await deadline.pause()
                    continue
                asleep = waits = found.asleep
                if not asleep:
                    storage.pace.handed_out()
                    return found.hand
        finally:
            if asleep:
                self._rise(None)

    def net_s(self) -> float:
        """All sleeping processes together look once in the safety net's time: the more sleep, the less often each."""
        return self._storage.settings.safety_net * max(1, self._storage.store.waiting.asleep())

    async def _until_work(self, deadline: Deadline, served: Served, bound: str | None) -> str | None:
        waiting = self._storage.store.waiting
        with self._storage.ears.listening(deaths=True) as heard:
            key, pause_s = waiting.lie_down(served, bound)
            try:
                if key is None:
                    net_s = self.net_s()
                    await deadline.wait(heard, net_s if pause_s is None else min(pause_s, net_s))
                    key = self._find_work(served, bound)
            finally:
                self._rise(key)
        return key

    def _find_work(self, served: Served, bound: str | None) -> str | None:
        """As `find_work`. None also where another process does not leave the guard."""
        self._storage.promote_what_is_due()
        with suppress(SegmentBusy):
            return self._storage.store.waiting.find_work(served, bound)
        return None

    def _rise(self, key: str | None) -> None:
        waiting = self._storage.store.waiting
        try:
            waiting.rise(key)
        except SegmentBusy:
            waiting.rise_alone()
