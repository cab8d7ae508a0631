"""What a storage in memory knows of one pipe. Wants the lock of the storage held."""

from __future__ import annotations

import os

from shardq.drivers.memory.threads import Thread, Threads
from shardq.model import AtWork, PipeFacts, WorkerFacts, key_of, priority_of, split_key

#: What it cannot see: which handlers workers wait for, and how many workers there are.
_UNKNOWN = ("stopped", "silent", "overdue", "nobody", "no-worker", "unserved", "busy", "no-supervisor", "full")


def facts_of(threads: Threads, pipe: str, now_us: int) -> PipeFacts:
    """Raises `HandlerError` for what is no pipe."""
    key, priority = key_of(pipe), priority_of(pipe)
    thread, rests_s = threads.known(key)
    paused = threads.pauses.of(split_key(key)[0])
    if thread is None:
        return PipeFacts(pipe, paused=paused, unknown=_UNKNOWN)
    lengths = {priority_of(its): sum(len(tube.messages) for tube in thread.of(its)) for its in _pipes(thread)}
    failed = next((tube.failed for tube in thread.of(pipe) if tube.messages), None)
    taken, requests = next(
        ((priority_of(its), count) for its in _pipes(thread) if (count := _in_hand(thread, its))), (None, 0)
    )
    at = AtWork(0, os.getpid(), *split_key(key), requests, 0.0, None, None, "")
    return PipeFacts(
        pipe,
        queued=lengths.pop(priority, 0),
        others={each: length for each, length in sorted(lengths.items()) if length},
        owner=WorkerFacts(at) if thread.token else None,
        taken=taken,
        attempts=failed.attempts if failed else 0,
        failed_ago_s=max(0, now_us - failed.last_us) / 1e6 if failed else 0.0,
        died=bool(failed and failed.ending),
        rests_s=rests_s,
        paused=paused,
        unknown=_UNKNOWN,
    )


def _pipes(thread: Thread) -> list[str]:
    return list(dict.fromkeys((*thread.fronts, *thread.tubes)))


def _in_hand(thread: Thread, pipe: str) -> int:
    return sum(tube.in_hand(thread.token) for tube in thread.of(pipe)) if thread.token else 0
