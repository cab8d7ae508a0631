"""What the process inside the guard is about to change: written before, cleared after, read by whoever comes next.

Two kinds. The *intent* names the thread entry (or two, and a tube being added to one), so that repair looks at these
only. A *commit* names the one store that makes an operation count, with the words that have to follow it, so that
counters are exact, and a message leaves one tube as it comes into another, although two words cannot change at once.
"""

from __future__ import annotations

from shardq.shm import words as at
from shardq.shm.segment import Segment

#: Where a commit names the words that follow beside its counter, and their values.
_OTHERS = ((at.COMMIT_SECOND, at.COMMIT_SECOND_VALUE), (at.COMMIT_THIRD, at.COMMIT_THIRD_VALUE))


class Journal:
    """The intent words of a segment. All methods want the guard held."""

    def __init__(self, segment: Segment) -> None:
        self._words = segment.words

    @property
    def standing(self) -> bool:
        """Whether somebody was changing anything."""
        return bool(self._words[at.INTENT_THREAD] or self._words[at.INTENT_PENDING])

    @property
    def pending(self) -> int:
        """Whether somebody was changing what waits for its time (1), and lent extents for it (2)."""
        return self._words[at.INTENT_PENDING]

    @property
    def thread(self) -> int:
        """The thread entry somebody was changing, -1: none."""
        return self._words[at.INTENT_THREAD] - 1

    @property
    def threads(self) -> list[int]:
        """All thread entries somebody was changing."""
        return [word - 1 for word in (self._words[at.INTENT_THREAD], self._words[at.INTENT_OTHER]) if word]

    @property
    def tube(self) -> int:
        """The tube entry somebody was adding to that thread, -1: none."""
        return self._words[at.INTENT_TUBE] - 1

    def declare(self, thread: int) -> None:
        self._words[at.INTENT_THREAD] = thread + 1

    def declare_two(self, thread: int, other: int) -> None:
        self._words[at.INTENT_THREAD] = thread + 1
        self._words[at.INTENT_OTHER] = other + 1

    def declare_pending(self, *, lends: bool = False) -> None:
        """What waits for its time is about to change; `lends`: and extents are lent for it."""
        self._words[at.INTENT_PENDING] = 2 if lends else 1

    def clear_pending(self) -> None:
        self._words[at.INTENT_PENDING] = 0

    def declare_tube(self, tube: int) -> None:
        self._words[at.INTENT_TUBE] = tube + 1

    def forget_tube(self) -> None:
        """The tube is linked: it needs no more attention than the thread."""
        self._words[at.INTENT_TUBE] = 0

    def clear(self) -> None:
        self._words[at.INTENT_TUBE] = 0
        self._words[at.INTENT_OTHER] = 0
        self._words[at.INTENT_THREAD] = 0

    def commit(self, place: int, value: int, counter: int, change: int) -> None:
        """Store `value`, which makes the operation count, and move the counter word by `change` with it.

        The value must differ from the one that stands there.
        """
        words = self._words
        total = words[counter] + change
        words[at.COMMIT_PLACE] = place
        words[at.COMMIT_VALUE] = value
        words[at.COMMIT_TOTAL] = total
        words[at.COMMIT_COUNTER] = counter
        words[place] = value
        words[counter] = total
        words[at.COMMIT_COUNTER] = 0

    def commit_with(self, place: int, value: int, counter: int, change: int, *others: tuple[int, int]) -> None:
        """As `commit`, with up to two other words and their values that follow as well."""
        words = self._words
        for (word, follower), (its_word, its_value) in zip(others, _OTHERS, strict=False):
            words[its_value] = follower
            words[its_word] = word
        total = words[counter] + change
        words[at.COMMIT_PLACE] = place
        words[at.COMMIT_VALUE] = value
        words[at.COMMIT_TOTAL] = total
        words[at.COMMIT_COUNTER] = counter
        words[place] = value
        self.finish_commit()

    def finish_commit(self) -> None:
        """Bring the words that follow a commit in line with whether it happened. May be repeated."""
        words = self._words
        counter = words[at.COMMIT_COUNTER]
        if counter and words[words[at.COMMIT_PLACE]] == words[at.COMMIT_VALUE]:
            words[counter] = words[at.COMMIT_TOTAL]
            for word, value in _OTHERS:
                if words[word]:
                    words[words[word]] = words[value]
        words[at.COMMIT_COUNTER] = 0
        for word, _ in _OTHERS:
            words[word] = 0
