"""Finding threads and tubes: by name, and by what the thread map says of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from shardq.model import key_of, priority_of
from shardq.shm import words as at
from shardq.shm.observing.copies import Copies
from shardq.shm.observing.steadily import steadily
from shardq.shm.tubes.directory import NOT_FOUND, digest_of

#: Threads with work or a worker, and graves.
LIVING = re.compile(b"[%s]" % re.escape(bytes((at.THREAD_READY, at.THREAD_BOUND, at.THREAD_PAUSED))))
GRAVES = re.compile(re.escape(bytes((at.THREAD_DEAD_LETTERS,))))
#: A thread that is not found may have been overlooked, since others were taken out of its chain just then.
_LOOKS = 3

#: The tubes of a pipe, with what is in front of it first.
Tubes = Sequence[int]


class Threads:
    """Finds threads and tubes."""

    def __init__(self, copies: Copies) -> None:
        self._copies = copies
        self._layout = copies.layout
        self._name = copies.segment.name

    def marked(self, states: re.Pattern[bytes], after: int | None, limit: int) -> tuple[list[int], int | None]:
        """Threads that the map says are in one of these states, so many behind `after`; and behind which one to go on,
        None: there are no more.
        """
        start = 0 if after is None else after + 1
        first, end = self._layout.thread_map + start, self._layout.thread_map + self._layout.threads
        found = list[int]()
        for one in states.finditer(self._copies.segment.bytes[first:end]):
            if len(found) == limit:
                return found, found[-1]
            found.append(start + one.start())
        return found, None

    def find(self, key: str) -> int:
        """The thread entry of this name, or NOT_FOUND. Raises `Moving`."""
        bucket = self._layout.index_word + digest_of(key) % self._layout.buckets

        def followed() -> int:
            return next((thread for thread, its in self._chain(bucket) if its == key), NOT_FOUND)

        for _ in range(_LOOKS):
            thread = steadily(self._name, followed, lambda: self._copies.words[bucket])
            if thread != NOT_FOUND:
                break
        return thread

    def tubes(self, pipe: str) -> Tubes:
        """The tubes of a pipe, as far as there are any. Raises `Moving`."""
        priority, thread = priority_of(pipe), self.find(key_of(pipe))
        if thread == NOT_FOUND:
            return ()
        return self.of(thread, lambda key, tubes: tubes.get(priority, ()) if key == key_of(pipe) else ())

    def key(self, thread: int) -> str:
        """The name of a thread. Raises `Moving`."""
        copies = self._copies
        return steadily(self._name, lambda: copies.thread(thread).key, lambda: copies.generation(thread))

    def kind(self, thread: int) -> int:
        """LETTERS or RESULTS where the thread holds such, else 0."""
        return self._copies.thread(thread).words[at.THREAD_APART]

    def of(self, thread: int, take: Callable[[str, dict[int, list[int]]], Tubes]) -> Tubes:
        """What `take` chooses of the tubes of a thread, given its name and them. Raises `Moving`."""
        copies = self._copies

        def look() -> Tubes:
            seen = copies.thread(thread)
            return take(seen.key, copies.tubes_of(thread, seen))

        return steadily(self._name, look, lambda: copies.generation(thread))

    def _chain(self, bucket: int) -> Iterator[tuple[int, str]]:
        """Number and name of each thread in a bucket."""
        entry, passed = self._copies.words[bucket], 0
        while entry:
            if entry > self._layout.threads or passed > self._layout.threads:
                raise ValueError("the names of its threads lead round in a circle, or nowhere")
            seen = self._copies.thread(entry - 1)
            yield entry - 1, seen.key
            entry, passed = seen.words[at.THREAD_NEXT], passed + 1
