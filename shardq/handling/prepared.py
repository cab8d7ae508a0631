"""What a call asks a storage for, found out without the storage: messages by tube, and the steps to store them in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from msgspec import Struct

from shardq.errors import QueueFull, StorageMoved, StorageUnconfirmed
from shardq.handling.info import HandlerInfo
from shardq.handling.inside import inside_handler
from shardq.handling.limits import check_limits
from shardq.handling.pipes import Pipes
from shardq.handling.routing import check_routes, grouped
from shardq.handling.steps import steps_of
from shardq.model import Limits, Part
from shardq.text.wording import counted


class Prepared(Struct):
    """A call that can be stored, step by step."""

    facts: HandlerInfo
    requests: Sequence[Any]
    pipes: Pipes
    places: Sequence[Any]
    """Where each request goes: what `pipes` knows."""
    steps: Sequence[Sequence[Part]]

    @property
    def parts(self) -> list[Part]:
        """Those of all steps."""
        return [part for step in self.steps for part in step]

    def left(self, stored: int, pipes: Collection[str] = ()) -> list[Any]:
        """The requests that are in none of the first `stored` steps, in the order of the call. `pipes`: of the step
        behind them, what went into these tubes is stored as well.
        """
        counts = Counter[str]()
        for number, step in enumerate(self.steps[: stored + 1]):
            for pipe, messages in step:
                if number < stored or pipe in pipes:
                    counts[pipe] += len(messages)
        left = list[Any]()
        for request, place in zip(self.requests, self.places, strict=True):
            pipe = self.pipes[place]
            if counts[pipe]:
                counts[pipe] -= 1
            else:
                left.append(request)
        return left

    def not_stored(self, number: int, error: Exception) -> list[Any]:
        """The requests that were not stored where the step of that number ended with this error."""
        if isinstance(error, StorageUnconfirmed):
            return self.left(number + 1)
        return self.left(number, error.stored if isinstance(error, StorageMoved) else ())

    def full(self, stored: int) -> QueueFull:
        """The error for a call that does not wait for room, after so many steps were stored."""
        count = sum(len(messages) for step in self.steps[stored:] for _, messages in step)
        reason = "inside a handler no call waits" if inside_handler() else "this call does not wait"
        return QueueFull(
            f"the storage has no room for {counted(count, 'request')} of {self.facts.name}, and {reason}: what was not "
            f"accepted is in not_accepted, register it again later"
        )


def prepare(
    facts: HandlerInfo, requests: Sequence[Any], places: Any, messages: Sequence[bytes], limits: Limits
) -> Prepared:
    """The call that stores these messages of these requests. `places`: what `route()` returned, or what is declared.
    Raises `HandlerError` and `MessageTooLarge` for what can never be stored.
    """
    pipes = facts.pipes()
    step = pipes.one_step(pipes.kind, places, messages, pipes, limits)
    if step is not None:
        return Prepared(facts, requests, pipes, places, [step])
    groups = _by_pipe(facts, pipes, requests, places, messages)
    steps = steps_of(list(groups.items()), limits)
    check_limits(steps, limits, requests, map(pipes.__getitem__, places))
    return Prepared(facts, requests, pipes, places, steps)


def messages_of(
    facts: HandlerInfo, requests: Sequence[Any], places: Any, messages: Sequence[bytes]
) -> dict[str, list[bytes]]:
    """The messages for each tube. Raises `HandlerError` for what `route()` got wrong."""
    return _by_pipe(facts, facts.pipes(), requests, places, messages)


def _by_pipe(
    facts: HandlerInfo, pipes: Pipes, requests: Sequence[Any], places: Any, messages: Sequence[bytes]
) -> dict[str, list[bytes]]:
    if facts.by is None:
        check_routes(facts, requests, places)
    return grouped(pipes, places, messages)
