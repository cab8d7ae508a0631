"""What the totals in the header say together. They change one after the other, so all functions but `counts_seen` want
the guard held.
"""

from __future__ import annotations

from shardq.model import Counts
from shardq.shm import words as at
from shardq.shm.segment import Segment

_GRAVE = bytes((at.THREAD_DEAD_LETTERS,))


def none_queued(words: memoryview) -> bool:
    """Whether no message is queued or in hand."""
    return bool(words[at.ACCEPTED] == words[at.HANDLED])


def none_to_come(words: memoryview) -> bool:
    """Whether no message is queued, in hand, deferred or recurrent."""
    return none_queued(words) and not words[at.DEFERRED] and not words[at.RECURRENT]


def nothing_stored(segment: Segment) -> bool:
    """Whether no message is queued, in hand, deferred or recurrent, and there are no dead letters, nor results that are
    kept.
    """
    threads = segment.layout.thread_map
    return none_to_come(segment.words) and segment.bytes.find(_GRAVE, threads, threads + segment.layout.threads) < 0


def counts_in(words: memoryview) -> Counts:
    """The totals of this moment. Wants the guard held, or they may not be of one moment."""
    buried = words[at.BURIED]
    return Counts(
        words[at.ACCEPTED],
        words[at.HANDLED],
        buried,
        buried - words[at.UNBURIED],
        words[at.DEFERRED],
        words[at.RECURRENT],
        words[at.EVICTED],
    )


def counts_seen(words: memoryview) -> Counts:
    """The totals, read while others change them. What left is read before what came, so no difference is below 0."""
    handled, unburied = words[at.HANDLED], words[at.UNBURIED]
    buried, accepted = words[at.BURIED], words[at.ACCEPTED]
    pending = words[at.DEFERRED], words[at.RECURRENT]
    return Counts(accepted, handled, buried, buried - unburied, *pending, words[at.EVICTED])
