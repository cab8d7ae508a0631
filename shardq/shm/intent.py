"""What the process inside the guard is about to change: written before, cleared after, read by whoever comes next.

Two kinds. The *intent* names the thread entry (and a tube being added to it), so that repair looks at one entry only.
A *commit* names the one store that makes an operation count, with the counter that has to follow it, so that the
counters are exact although two words cannot change at once.
"""

from __future__ import annotations

from shardq.shm import layout as at
from shardq.shm.segment import Segment


class Intent:
    """The intent words of a segment. All methods want the guard held."""

    def __init__(self, segment: Segment) -> None:
        self._words = segment.words

    @property
    def thread(self) -> int:
        """The thread entry somebody was changing, -1: none."""
        return self._words[at.INTENT_THREAD] - 1

    @property
    def tube(self) -> int:
        """The tube entry somebody was adding to that thread, -1: none."""
        return self._words[at.INTENT_TUBE] - 1

    def declare(self, thread: int) -> None:
        self._words[at.INTENT_THREAD] = thread + 1

    def declare_tube(self, tube: int) -> None:
        self._words[at.INTENT_TUBE] = tube + 1

    def clear(self) -> None:
        self._words[at.INTENT_TUBE] = 0
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

    def finish_commit(self) -> None:
        """Bring the counter of an interrupted commit in line with whether it happened."""
        words = self._words
        counter = words[at.COMMIT_COUNTER]
        if counter and words[words[at.COMMIT_PLACE]] == words[at.COMMIT_VALUE]:
            words[counter] = words[at.COMMIT_TOTAL]
        words[at.COMMIT_COUNTER] = 0
