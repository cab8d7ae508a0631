"""What the process inside the guard is about to change: written before, cleared after, read by a process that mends.

Two kinds. The *intent* names the thread entries that are touched, and a tube being added to one of them, so that repair
looks at these only. A *commit* is a redo log: places and values are written down, then their number, and that one store
makes all of them count; then each value is stored in its place, and the number becomes 0. Where a process died between,
the next one stores the values again. So an operation changes any number of words or none. (Redo logging as in ARIES:
C. Mohan et al., ACM Transactions on Database Systems 17, 1992.)
"""

from __future__ import annotations

from shardq.shm import words as at
from shardq.shm.damage import damaged
from shardq.shm.segment import Segment


class Journal:
    """The journal of a segment. All methods want the guard held."""

    def __init__(self, segment: Segment) -> None:
        self._name = segment.name
        self._words = segment.words
        self._threads = segment.layout.touched_word
        self._coming = segment.layout.coming_word
        self._stores = segment.layout.stores_word

    @property
    def standing(self) -> bool:
        """Whether a process left while it was changing anything."""
        return bool(self._words[at.INTENT_THREAD] or self._words[at.INTENT_PENDING])

    @property
    def pending(self) -> int:
        """Whether pending records were being changed (1), and extents lent for them (2)."""
        return self._words[at.INTENT_PENDING]

    @property
    def thread(self) -> int:
        """The thread entry that was declared last, -1: none."""
        return self._words[at.INTENT_THREAD] - 1

    @property
    def threads(self) -> list[int]:
        """All thread entries that were declared."""
        words, count = self._words, self._words[at.TOUCHED]
        if count > at.MOST_TOUCHED:
            raise damaged(self._name, f"it cannot be that so many threads ({count}) were being changed")
        touched = [words[self._threads + n] - 1 for n in range(count)]
        last = words[at.INTENT_THREAD] - 1
        return touched if last < 0 or last in touched else [*touched, last]

    @property
    def tube(self) -> int:
        """The tube entry that was being added to `thread`, -1: none."""
        return self._words[at.INTENT_TUBE] - 1

    def declare(self, thread: int) -> None:
        """This thread entry is about to change, as are those given to `keep`."""
        self._words[at.INTENT_THREAD] = thread + 1

    def keep(self, thread: int) -> None:
        """This thread entry is about to change, and stays declared when others are."""
        words, count = self._words, self._words[at.TOUCHED]
        words[at.INTENT_THREAD] = thread + 1
        words[self._threads + count] = thread + 1
        words[at.TOUCHED] = count + 1

    def declare_pending(self, *, lends: bool = False) -> None:
        """Pending records are about to change; `lends`: and extents are lent for them."""
        self._words[at.INTENT_PENDING] = 2 if lends else 1

    def clear_pending(self) -> None:
        self._words[at.INTENT_PENDING] = 0

    @property
    def coming(self) -> list[int]:
        """Addresses of pending records that were coming, beside the last one."""
        words, count = self._words, self._words[at.COMING]
        if count > at.MOST_COMING:
            raise damaged(self._name, f"so many records ({count}) cannot come at once")
        return [words[self._coming + n] for n in range(count)]

    def note_coming(self, address: int) -> None:
        """This pending record comes, and another one with it."""
        words, count = self._words, self._words[at.COMING]
        words[self._coming + count] = address
        words[at.COMING] = count + 1

    def clear_coming(self) -> None:
        self._words[at.COMING] = 0

    def declare_tube(self, tube: int) -> None:
        self._words[at.INTENT_TUBE] = tube + 1

    def forget_tube(self) -> None:
        """The tube is linked to its thread: repair finds it there."""
        self._words[at.INTENT_TUBE] = 0

    def clear(self) -> None:
        """All that was declared is done."""
        words = self._words
        words[at.INTENT_TUBE] = 0
        words[at.TOUCHED] = 0
        # Last: while it stands, the others count.
        words[at.INTENT_THREAD] = 0

    def commit(self, *stores: tuple[int, int]) -> None:
        """Store values in words, (number of the word, value) each: all of them or, where this process dies, none."""
        words, entry = self._words, self._stores
        for place, value in stores:
            words[entry] = place
            words[entry + 1] = value
            entry += 2
        words[at.STORES] = len(stores)
        for place, value in stores:
            words[place] = value
        words[at.STORES] = 0

    def moved(self, counter: int, change: int) -> tuple[int, int]:
        """For `commit`: the counter with this change."""
        return counter, self._words[counter] + change

    def redo(self) -> None:
        """Store again what a process that died had committed. May be repeated."""
        words, count = self._words, self._words[at.STORES]
        if count > at.MOST_STORES:
            raise damaged(self._name, f"so many words ({count}) cannot be stored at once")
        for entry in range(self._stores, self._stores + 2 * count, 2):
            if words[entry] < at.ACCEPTED:
                raise damaged(self._name, f"nothing is stored in word {words[entry]}")
            words[words[entry]] = words[entry + 1]
        words[at.STORES] = 0
