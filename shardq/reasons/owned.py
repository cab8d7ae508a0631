"""Reasons for a pipe whose thread a worker has."""

from __future__ import annotations

from shardq.model import PipeFacts, WorkerFacts, priority_of
from shardq.reasons.reason import Reason, many, named
from shardq.reasons.waiting import failed, full
from shardq.text.wording import duration, how_far


def owned(facts: PipeFacts) -> list[Reason]:
    """At least one where a worker has the thread; else none."""
    owner = facts.owner
    if owner is None:
        return []
    found = [_owner(facts, owner)]
    behind = facts.queued - (owner.at.requests if facts.taken == priority_of(facts.pipe) else 0)
    if facts.taken == priority_of(facts.pipe) and behind > 0:
        text = (
            f"{many(behind)} behind that batch {'waits' if behind == 1 else 'wait'} for it: a thread keeps its order."
        )
        found.append(Reason("order", text, ""))
    found += full(facts)
    if facts.attempts:
        found.append(Reason("attempts", f"{failed(facts)} It is tried again now.", _LOOK_FOR))
    return found


_LOOK_FOR = "The log of the family has the error, as `request failed`."


def _owner(facts: PipeFacts, owner: WorkerFacts) -> Reason:
    who, pid = named(owner), owner.at.pid
    has = f"{who[0].upper()}{who[1:]} has {_what(facts, owner)}"
    if owner.state == "stopped":
        text = f"{has}, and is stopped, by a signal or a debugger."
        return Reason("stopped", text, f"kill -CONT {pid} lets it go on; kill -9 {pid} frees the thread.")
    if owner.state == "silent":
        text = f"{has}, and was not heard of for longer than its lease: the next worker that looks takes the thread."
        return Reason("silent", text, "See whether its host is reached and its supervisor runs.")
    if facts.taken is None:
        text = f"{has}: it makes the handler ready, or is about to take the next batch."
        return Reason("bound", text, f"Look again; `shardq stack {pid}` shows where it is.")
    if facts.taken != priority_of(facts.pipe):
        text = f"{has}. A thread has one batch in hand at a time."
        return Reason("other-priority", text, f"Wait for that batch; `shardq stack {pid}` shows where it is.")
    if owner.left_s is not None and owner.left_s < 0:
        return _overdue(facts, owner, has)
    if owner.left_s is not None:
        has += f"; it may have them for {duration(owner.left_s)} more"
    return Reason("in-hand", f"{has}.", f"`shardq stack {pid}` shows where it is.")


def _overdue(facts: PipeFacts, owner: WorkerFacts, has: str) -> Reason:
    pid, text = owner.at.pid, f"{has}; they should have been done {duration(-(owner.left_s or 0.0))} ago."
    if facts.supervisors:
        return Reason("overdue", f"{text} Its supervisor ends it soon.", f"`shardq stack {pid}` shows where it hangs.")
    return Reason("overdue", f"{text} No supervisor is there that would end it.", f"kill -9 {pid} frees the thread.")


def _what(facts: PipeFacts, owner: WorkerFacts) -> str:
    """What the owner has, as the end of a sentence."""
    if facts.taken is None:
        return "its thread, and no batch of it in hand"
    at = owner.at
    whose = "of it" if facts.taken == priority_of(facts.pipe) else f"of priority {facts.taken} of its thread"
    for_ = f" for {duration(at.age_s)}" if at.age_s else ""
    far = f" ({how_far(at.done, at.total, at.note)})" if at.done is not None else ""
    return f"{many(at.requests)} {whose} in hand{for_}{far}"
