"""Views of the tubes that are not empty: how long each is, how old, and who serves it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from shardq.model import TubeView, split_key
from shardq.shm import words as at
from shardq.shm.observing.copies import Copies, ThreadSeen
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

    def views(self, threads: Sequence[int], paused: AbstractSet[str] = frozenset()) -> tuple[list[TubeView], int]:
        """The tubes of these threads that are not empty, without graves; and of how many threads they changed too fast
        to be copied. `paused`: handlers that are.
        """
        found, missed, serving = list[TubeView](), 0, Serving(self._copies, self._slots)
        for thread in threads:
            try:
                found += self._of(thread, serving, paused)
            except Moving:
                missed += 1
        return found, missed

    def _of(self, thread: int, serving: Serving, paused: AbstractSet[str]) -> list[TubeView]:
        copies = self._copies

        def look() -> list[TubeView]:
            seen = copies.thread(thread)
            if seen.words[at.THREAD_APART]:
                return []
            found = list[TubeView]()
            is_paused = split_key(seen.key)[0] in paused
            for priority, tubes in copies.entries_of(thread, seen).items():
                found += self._view(f"{seen.key}/{priority}", seen, [*tubes.values()], serving, is_paused)
                if any(copies.tube(tube) != words for tube, words in tubes.items()):
                    raise Moving
            return found

        return steadily(copies.segment.name, look, lambda: copies.generation(thread))

    def _view(
        self, pipe: str, seen: ThreadSeen, tubes: Sequence[tuple[int, ...]], serving: Serving, paused: bool
    ) -> Iterator[TubeView]:
        """A view of the pipe, if it is not empty."""
        every = [(words, *self._reader.filled_of(words)) for words in tubes]
        filled = [its for its in every if its[1]]
        if not filled:
            return
        oldest_us = min(since_us for _, _, since_us in filled)
        owner = seen.words[at.THREAD_OWNER]
        owner = owner if owner and self._slots.alive(owner) else 0
        head = filled[0][0]
        failed = head[at.TUBE_FAILED_SEQUENCE] == head[at.TUBE_HEAD_SEQUENCE]
        rests_ns = seen.words[at.THREAD_NOT_BEFORE_NS] - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        yield TubeView(
            pipe,
            sum(length for _, length, _ in filled),
            max(0, time.time_ns() // 1000 - oldest_us) / 1e6,
            serving.pid_of(owner) if owner else None,
            not owner and not serving.serves(seen.words[at.THREAD_HANDLER]),
            head[at.TUBE_ATTEMPTS] if failed else 0,
            0.0 if owner else max(0, rests_ns) / 1e9,
            paused,
        )
