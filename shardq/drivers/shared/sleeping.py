"""Sleeping until there is work in a segment: `wait`, which says where it is, and `rest`, which claims and hands it out.
And until there is none: `wait_for_quiet`.

All say that this process sleeps in the section in which they find nothing. So a process that changes it after that
section rings this one, and no ring is missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from shardq.drivers.shared.resting import Resting
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
        leaves = deadline.over
        while not leaves:
            try:
                key, leaves = await self._until_work(deadline, served, bound)
            except SegmentBusy:
                await deadline.pause()
                leaves = deadline.over
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
        resting = Resting(storage, served, terms, timeout_s, stay=stay)
        try:
            return await resting.until_work(found, since)
        finally:
            if resting.asleep:
                self._rise(None)

    async def _until_work(self, deadline: Deadline, served: Served, bound: str | None) -> tuple[str | None, bool]:
        """What was found when the bell rang, or the time was over, and whether this is the end of waiting."""
        waiting, leaves = self._storage.store.waiting, True
        with self._storage.ears.listening(deaths=True) as heard:
            key, pause_s = waiting.lie_down(served, bound)
            try:
                if key is None:
                    net_s = self._storage.net_s()
                    await deadline.wait(heard, net_s if pause_s is None else min(pause_s, net_s))
                    key = self._find_work(served, bound)
                    leaves = key is not None or deadline.over
            finally:
                self._rise(key, leaves=leaves)
        return key, leaves

    def _find_work(self, served: Served, bound: str | None) -> str | None:
        """As `find_work`. None also where another process does not leave the guard."""
        self._storage.promote_what_is_due()
        with suppress(SegmentBusy):
            return self._storage.store.waiting.find_work(served, bound)
        return None

    def _rise(self, key: str | None, *, leaves: bool = True) -> None:
        waiting = self._storage.store.waiting
        try:
            waiting.rise(key, leaves=leaves)
        except SegmentBusy:
            waiting.rise_alone()
