"""What a turn does in memory once the batch in the hand is acknowledged. Wants the lock of the storage held."""

from __future__ import annotations

from shardq.drivers.memory.threads import Threads
from shardq.model import EMPTY, AllTerms, Batch, Hand, split_key
from shardq.protocols import Served


def onward(threads: Threads, hand: Hand | None, served: Served, terms: AllTerms, *, stay: bool) -> Hand | None:
    """Hand out more of the thread of the hand, or of the one that is ready next: see `Storage.turn`."""
    if hand is None:
        return _next(threads, served, terms)
    key, token, _ = hand
    if stay and (more := _taken(threads, key, token, terms)).count:
        return Hand(key, token, more)
    if not threads.others_ready(served):
        return Hand(key, token, EMPTY if stay else _taken(threads, key, token, terms))
    threads.unclaim(key, token, 0.0)
    return _next(threads, served, terms)


def _next(threads: Threads, served: Served, terms: AllTerms) -> Hand | None:
    """Claim the thread that is ready next, and hand out of it. None: there is none."""
    key = threads.next_ready(served, None)
    if key is None:
        return None
    token = threads.claim(key)
    return Hand(key, token, _taken(threads, key, token, terms))


def _taken(threads: Threads, key: str, token: int, terms: AllTerms) -> Batch:
    """A batch by the terms of the thread's handler; nothing where there are none."""
    its = terms.get(split_key(key)[0])
    return threads.take(key, token, its) if its else EMPTY
