"""Reasons for a pipe without requests: where those may be that are missed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from shardq.model import KEPT_PIPE, PipeFacts, Scheduled, dead_pipe, key_of, split_key
from shardq.reasons.reason import Reason, many
from shardq.text.wording import counted, duration


class Beside(NamedTuple):
    """What there is beside the pipe."""

    letters: int
    """Dead letters of its handler."""
    deferred: int
    """Requests of the whole storage that wait for their time."""
    recurrent: Sequence[Scheduled]
    """Recurrent requests of the pipe, the next due first."""


def nothing_queued(facts: PipeFacts, beside: Beside) -> list[Reason]:
    """At least one."""
    handler, thread = split_key(key_of(facts.pipe))
    if facts.pipe == dead_pipe(handler):
        text = f"These are the dead letters of {handler}, {beside.letters:,} of them: no worker serves them."
        return [Reason("letters", text, f"`shardq dead list {handler}` shows them, `dead requeue` puts them back.")]
    if facts.pipe == KEPT_PIPE:
        text = "These are results that are kept for tickets: no worker serves them."
        return [Reason("results", text, "`shardq results` shows them.")]
    text = "It has no requests: none was registered, or all are done, cancelled, or became dead letters."
    found = [Reason("empty", text, "`shardq tubes` lists the pipes that have requests.")]
    if facts.others:
        others = ", ".join(f"{many(count)} of priority {priority}" for priority, count in facts.others.items())
        text = f"Its thread has {others}."
        first = next(iter(facts.others))
        found.append(Reason("other-priority", text, f"`shardq why {handler}/{thread}/{first}`"))
    if beside.letters:
        text = f"{handler} has {counted(beside.letters, 'dead letter')}, of all its threads."
        found.append(Reason("letters", text, f"`shardq dead list {handler}` says of which tube each was."))
    if beside.recurrent:
        due_s = max(0.0, beside.recurrent[0].due_us / 1e6 - time.time())
        text = f"{counted(len(beside.recurrent), 'recurrent request')} of it will come, the next in {duration(due_s)}."
        found.append(Reason("recurrent", text, "`shardq recurrent list` shows them."))
    if beside.deferred:
        text = f"The storage has {counted(beside.deferred, 'deferred request')}, which may be of it."
        found.append(Reason("deferred", text, "`shardq status` says when the first of them is due."))
    return found
