"""Reasons for a pipe whose thread is free, and waits."""

from __future__ import annotations

from shardq.model import PipeFacts, WorkerFacts, key_of, split_key
from shardq.reasons.reason import Reason, many
from shardq.text.wording import counted, duration

#: From this part of the capacity on there may be no room for what handlers send.
_NEARLY_FULL = 0.9


def failed(facts: PipeFacts) -> str:
    """A sentence on the request at the head, which failed."""
    how = "its worker died of it" if facts.died else "its handler raised"
    times = counted(facts.attempts, "time")
    return f"The request at its head failed {times}, last {duration(facts.failed_ago_s)} ago, when {how}."


def full(facts: PipeFacts) -> list[Reason]:
    """Whether a handler may wait for room, unless it failed otherwise."""
    if facts.attempts or facts.full is None or facts.full < _NEARLY_FULL:
        return []
    text = f"The storage is {facts.full:.0%} full: there may be no room for what the handler sends."
    return [Reason("full", text, "Have what is queued worked off, or give it more capacity.")]


def waiting(facts: PipeFacts) -> list[Reason]:
    """What its requests wait for, beside a worker."""
    found = list[Reason]()
    if facts.rests_s:
        found.append(_rest(facts))
        found += full(facts)
    if facts.others:
        others = ", ".join(f"{many(count)} of priority {priority}" for priority, count in facts.others.items())
        text = f"Its thread also has {others}: those that the handler lists before come first."
        found.append(Reason("priority", text, "See Handler.priorities, and Handler.starvation_limit."))
    able = _able(facts)
    if not facts.rests_s and able and all(worker.at.requests for worker in able):
        longest_s = max(worker.at.age_s for worker in able)
        text = f"All {counted(len(able), 'worker')} that serve it have batches in hand, the longest for "
        found.append(Reason("busy", f"{text}{duration(longest_s)}.", "Wait, or give it more workers (--workers)."))
    return found


def _rest(facts: PipeFacts) -> Reason:
    left = duration(facts.rests_s)
    if facts.attempts:
        text = f"{failed(facts)} The next attempt is in {left}."
        return Reason("backoff", text, "The log of the family has the error, as `request failed`.")
    if facts.deaths:
        text = (
            f"{counted(facts.deaths, 'worker')} died in a row while they made its handler ready. It rests for {left}."
        )
        return Reason("start", text, "The log of the family says of what: `worker ended`.")
    text = f"It rests for {left}: its handler did not start, or there was no room for what it sends."
    return Reason("rests", text, "The log of the family says which: `handler did not start`, `thread paused`.")


def _able(facts: PipeFacts) -> list[WorkerFacts]:
    """The workers that run and serve it."""
    handler = split_key(key_of(facts.pipe))[0]
    return [
        worker
        for worker in facts.workers or ()
        if worker.state == "running" and (worker.handlers is None or handler in worker.handlers)
    ]
