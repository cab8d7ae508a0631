"""What a call asks a storage for, found out without the storage: messages by tube, and the steps to store them in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from shardq.errors import QueueFull, RequestError
from shardq.handling.info import HandlerInfo
from shardq.handling.inside import inside_handler
from shardq.handling.limits import check_limits
from shardq.handling.routing import grouped
from shardq.handling.steps import steps_of
from shardq.model import Limits, Part, Route
from shardq.text.wording import counted

#: One message for each request of a handler. Raises `RequestError` naming the request that cannot be one.
Encode = Callable[[HandlerInfo, Sequence[Any]], list[bytes]]


class Prepared(NamedTuple):
    """A call that can be stored, step by step."""

    facts: HandlerInfo
    requests: Sequence[Any]
    routes: Sequence[Route]
    """One for each request."""
    steps: Sequence[Sequence[Part]]

    def left(self, stored: int) -> list[Any]:
        """The requests that are in none of the first `stored` steps, in the order of the call."""
        counts = Counter[str]()
        for step in self.steps[:stored]:
            for pipe, messages in step:
                counts[pipe] += len(messages)
        left = list[Any]()
        for request, pipe in zip(self.requests, map(self.facts.pipe, self.routes), strict=True):
            if counts[pipe]:
                counts[pipe] -= 1
            else:
                left.append(request)
        return left

    def full(self, stored: int) -> QueueFull:
        """The error for a call that does not wait for room, after so many steps were stored."""
        count = sum(len(messages) for step in self.steps[stored:] for _, messages in step)
        reason = "inside a handler nobody waits" if inside_handler() else "this call does not wait"
        return QueueFull(
            f"the storage has no room for {counted(count, 'request')} of {self.facts.name}, and {reason}: what was not "
            f"accepted is in not_accepted, register it again later"
        )


def prepare(facts: HandlerInfo, requests: Sequence[Any], routes: Any, encode: Encode, limits: Limits) -> Prepared:
    """The call that stores these requests. Raises `HandlerError`, `RequestError` and `MessageTooLarge` for what can
    never be stored.
    """
    steps = steps_of(addressed(facts, requests, routes, encode), limits)
    check_limits(steps, limits, requests, map(facts.pipe, routes))
    return Prepared(facts, requests, routes, steps)


def addressed(facts: HandlerInfo, requests: Sequence[Any], routes: Any, encode: Encode) -> list[Part]:
    """The messages for each tube. Raises `HandlerError` for what `route()` got wrong, and `RequestError`."""
    groups = grouped(facts, requests, routes)
    try:
        return [(facts.pipe(route), encode(facts, group)) for route, group in groups.items()]
    except RequestError:
        # Again in the order of the call, so that the error gives the position there and not that in a group.
        encode(facts, requests)
        raise
