"""What the totals in the header say together. They change one after the other: all want the guard held."""

from __future__ import annotations

from shardq.shm import words as at


def none_queued(words: memoryview) -> bool:
    """Whether no message is queued or in hand."""
    return bool(words[at.ACCEPTED] == words[at.HANDLED])


def none_to_come(words: memoryview) -> bool:
    """Whether, beside that, none waits for its time."""
    return none_queued(words) and not words[at.DEFERRED] and not words[at.RECURRENT]


def nothing_stored(words: memoryview) -> bool:
    """Whether, beside that, there are no dead letters."""
    return none_to_come(words) and bool(words[at.BURIED] == words[at.UNBURIED])
