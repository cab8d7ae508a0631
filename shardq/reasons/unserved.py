"""Reasons for a pipe whose thread no worker will have as things stand."""

from __future__ import annotations

from collections.abc import Sequence

from shardq.model import INBOX, PipeFacts, WorkerFacts, key_of, split_key
from shardq.reasons.reason import Reason, named
from shardq.text.wording import counted

#: So many names stand in a sentence.
_MOST_NAMED = 5


def unserved(facts: PipeFacts) -> list[Reason]:
    """Where no worker is there, none that runs, or none that serves the handler."""
    handler, workers = split_key(key_of(facts.pipe))[0], facts.workers
    if workers is None:
        return []
    if not workers:
        return [_none(facts, handler)]
    found = list[Reason]()
    if facts.served is False and handler != INBOX:
        text = f"No worker serves {handler}. They serve {_served(workers)}."
        advice = f"Serve its module (python -m shardq.supervise {_module(handler)}), or `shardq park {facts.pipe}`."
        found.append(Reason("unserved", text, advice))
    if all(worker.state != "running" for worker in workers):
        text = f"No worker runs: {_some([f'{named(worker)} is {worker.state}' for worker in workers])}."
        found.append(Reason("no-worker", text, "kill -CONT lets stopped ones go on; see to the hosts of silent ones."))
    if facts.supervisors == 0 and all(worker.at.number for worker in workers):
        text = f"Its supervisor is gone: {counted(len(workers), 'worker')} end after the batch in hand."
        found.append(Reason("no-supervisor", text, "Start the supervisor again: it takes over what is there."))
    return found


def _none(facts: PipeFacts, handler: str) -> Reason:
    if facts.supervisors:
        text = "A supervisor is there, and no worker: they have not begun yet, or die."
        return Reason("no-worker", text, "Its log says which: `worker ended`, `workers keep dying`.")
    text = "Nothing serves the storage: no supervisor and no worker is there."
    advice = f"Start a family that has {handler}, with the same --url: python -m shardq.supervise {_module(handler)}"
    return Reason("nobody", text, advice)


def _module(handler: str) -> str:
    """What to serve; no module of an application has the inboxes of callers."""
    return "MODULE" if handler == INBOX else handler.partition("/")[0]


def _served(workers: Sequence[WorkerFacts]) -> str:
    names = sorted({name for worker in workers for name in worker.handlers or ()})
    return _some(names) if names else "nothing yet"


def _some(words: Sequence[str]) -> str:
    more = len(words) - _MOST_NAMED
    return ", ".join(words[:_MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")
