"""Views of the tubes that are not empty: how long each is, how old, and who serves it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from shardq.model import TubeView, split_key
from shardq.shm import words as at
from shardq.shm.observing.copies import Copies
from shardq.shm.observing.many import Filled, Found, Many, Words
from shardq.shm.observing.messages import Reader
from shardq.shm.observing.serving import Serving
from shardq.shm.observing.steadily import Moving, steadily
from shardq.shm.processes.slots import Slots


class Tubes:
    """Looks at the tubes of threads."""

    def __init__(self, copies: Copies, reader: Reader, slots: Slots) -> None:
        self._copies = copies
        self._reader = reader
        self._slots = slots
        self._many = Many(copies)

    def views(self, threads: Sequence[int], paused: AbstractSet[str] = frozenset()) -> tuple[list[TubeView], int]:
        """The tubes of these threads, which ascend, that are not empty, without graves; and of how many threads they
        changed too fast to be copied. `paused`: handlers that are.
        """
        views, missed = list[TubeView](), 0
        found, viewer = self._many.found(threads), _Viewer(Serving(self._copies, self._slots), self._slots, paused)
        for thread in threads:
            try:
                words, key, tubes = found.get(thread) or self._of(thread)
            except Moving:
                missed += 1
            else:
                views += viewer.views(words, key, tubes)
        return views, missed

    def _of(self, thread: int) -> Found:
        copies = self._copies

        def look() -> Found:
            seen, found = copies.thread(thread), list[Filled]()
            if seen.words[at.THREAD_APART]:
                return *seen, found
            for priority, tubes in copies.entries_of(thread, seen).items():
                every = [(words, *self._reader.filled_of(words)) for words in tubes.values()]
                if filled := [its for its in every if its[1]]:
                    since_us = min(its[2] for its in filled)
                    found.append((priority, filled[0][0], sum(its[1] for its in filled), since_us))
                if any(copies.tube(tube) != words for tube, words in tubes.items()):
                    raise Moving
            return *seen, found

        return steadily(copies.segment.name, look, lambda: copies.generation(thread))


class _Viewer:
    """Makes views of what was found at about the same moment."""

    def __init__(self, serving: Serving, slots: Slots, paused: AbstractSet[str]) -> None:
        self._serving = serving
        self._slots = slots
        self._paused = paused
        self._alive = dict[int, bool]()
        self._unix_us = time.time_ns() // 1000
        self._boottime_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def views(self, words: Words, key: str, tubes: Sequence[Filled]) -> list[TubeView]:
        """Of the tubes of a thread that are not empty, given the words of its entry and its name."""
        if not tubes:
            return []
        owner = words[at.THREAD_OWNER]
        if owner and self._is_alive(owner):
            pid, unserved, rests_s = self._serving.pid_of(owner), False, 0.0
        else:
            pid, unserved = None, not self._serving.serves(words[at.THREAD_HANDLER])
            rests_s = max(0, words[at.THREAD_NOT_BEFORE_NS] - self._boottime_ns) / 1e9
        paused = bool(self._paused) and split_key(key)[0] in self._paused
        return [
            TubeView(
                f"{key}/{priority}",
                length,
                max(0, self._unix_us - accepted_us) / 1e6,
                pid,
                unserved,
                head[at.TUBE_ATTEMPTS] if head[at.TUBE_FAILED_SEQUENCE] == head[at.TUBE_HEAD_SEQUENCE] else 0,
                rests_s,
                paused,
            )
            for priority, head, length, accepted_us in tubes
        ]

    def _is_alive(self, owner: int) -> bool:
        if owner not in self._alive:
            self._alive[owner] = self._slots.alive(owner)
        return self._alive[owner]
