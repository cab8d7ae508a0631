"""Why the requests of a pipe do not run: what follows from what its storage knows, the most important first."""

from __future__ import annotations

from dataclasses import dataclass

from shardq.model import KEPT_PIPE, PipeFacts, dead_pipe, key_of, split_key
from shardq.protocols import Knowing
from shardq.reasons.nothing_queued import Beside, nothing_queued
from shardq.reasons.owned import owned
from shardq.reasons.paused import paused
from shardq.reasons.reason import Reason
from shardq.reasons.unserved import unserved
from shardq.reasons.waiting import waiting
from shardq.reasons.whole import whole

__all__ = ["Explained", "Reason", "why"]

#: So many recurrent requests are looked through for those of the pipe.
_MOST_RECURRENT = 1000
_READY = Reason("ready", "Nothing holds it: the next worker that looks takes it.", "Look again.")


@dataclass(frozen=True, slots=True)
class Explained:
    """Why the requests of a pipe do not run."""

    facts: PipeFacts
    """What is known of it."""
    reasons: list[Reason]
    """At least one, the most important first."""


async def why(storage: Knowing, pipe: str) -> Explained:
    """The reasons for a pipe `module/Handler/thread/priority`. `storage` is what `shardq.observe(url)` returns, or a
    storage in memory.

    Raises `HandlerError` for what is no pipe, and what its looks raise.
    """
    facts, grave = await storage.facts(pipe), dead_pipe(split_key(key_of(pipe))[0])
    found = whole(facts)
    if facts.queued and pipe not in (grave, KEPT_PIPE):
        found += [*paused(facts), *(owned(facts) or [*unserved(facts), *waiting(facts)])]
        found = found or [_READY]
    elif not facts.moving:
        recurrent = [its for its in await storage.scheduled(None, _MOST_RECURRENT) if its.pipe == pipe]
        beside = Beside(await storage.length(grave), (await storage.backlog()).deferred, recurrent)
        found += nothing_queued(facts, beside)
    return Explained(facts, found)
