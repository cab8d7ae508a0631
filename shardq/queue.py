"""The asking side: requests are routed, grouped by tube, encoded, and appended.

    register -> route -> group by tube -> encode -> storage.append

Everything that can be refused is refused before the first append, so a call that raises anything but `QueueFull` has
stored nothing.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Generator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from shardq.codec import MsgspecSerializer
from shardq.deadletters import DeadLetters
from shardq.errors import HandlerError, QueueFull, RequestError
from shardq.handler import (
    Handler,
    check_failure_rules,
    check_importable,
    check_priorities,
    concrete_types,
    drive,
    handling,
    request_type,
)
from shardq.model import Route, Tube, handler_name
from shardq.protocols import Serializer, Storage


class _Step(NamedTuple):
    """Something a registration awaits, and whether that may suspend."""

    awaitable: Awaitable[Any]
    suspends: bool


#: A registration in steps: yields what has to be awaited, is sent the result, returns how many were accepted. One text
#: serves `register`, which awaits, and `register_sync`, which cannot.
_Steps = Generator[_Step, Any, int]


class Queue:
    """Registers requests for handlers. Holds no state of its own beside the handlers it met, so it may be used from
    several threads and event loops at once.
    """

    def __init__(self, storage: Storage, serializer: Serializer | None = None) -> None:
        self.storage = storage
        self.serializer: Serializer = serializer or MsgspecSerializer()
        self.handlers: dict[str, type[Handler[Any]]] = {}
        """Handlers registered here, by `module/Handler`: what this process's workers serve beside imported ones."""
        self._kinds: dict[type[Handler[Any]], _HandlerFacts] = {}

    async def register(
        self,
        handler: type[Handler[Any]],
        *requests: Any,
        defer: Any = None,
        if_not_exists: bool = False,
        recurrent: Any = None,
    ) -> int:
        """Store requests for `handler` and return how many were accepted.

        Without room it waits, or raises `QueueFull` where `StorageSettings.when_full` is "raise" and always inside a
        handler; what it could not store is in `QueueFull.not_accepted`. Of one call either all requests of a tube are
        stored or none of them. Raises `HandlerError` and `RequestError` for what can never work; nothing is stored
        then.

        `defer`, `if_not_exists` and `recurrent` are not there yet: using one raises `NotImplementedError`.
        """
        _refuse_missing_features(defer, if_not_exists, recurrent)
        steps = self._registration(handler, requests, may_wait=True)
        try:
            step = next(steps)
            while True:
                try:
                    result = await step.awaitable
                except QueueFull as full:
                    step = steps.throw(full)
                else:
                    step = steps.send(result)
        except StopIteration as end:
            return int(end.value)

    def register_sync(
        self,
        handler: type[Handler[Any]],
        *requests: Any,
        defer: Any = None,
        if_not_exists: bool = False,
        recurrent: Any = None,
    ) -> int:
        """`register` for code without an event loop, and for plain handlers. Where a loop runs in this thread it cannot
        wait: it raises `QueueFull` instead, and `HandlerError` where `route()` itself has to wait.
        """
        _refuse_missing_features(defer, if_not_exists, recurrent)
        loop_runs = _loop_runs()
        steps = self._registration(handler, requests, may_wait=not loop_runs)
        try:
            step = next(steps)
            while True:
                try:
                    result = _wait_for(step.awaitable) if step.suspends and not loop_runs else drive(step.awaitable)
                except QueueFull as full:
                    step = steps.throw(full)
                else:
                    step = steps.send(result)
        except StopIteration as end:
            return int(end.value)

    @property
    def dead_letters(self) -> DeadLetters:
        """The requests that failed for good: list them, put them back, forget them."""
        return DeadLetters(self.storage)

    async def close(self) -> None:
        """Let go of the storage. What is stored stays."""
        await self.storage.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _registration(self, handler: type[Handler[Any]], requests: Sequence[Any], *, may_wait: bool) -> _Steps:
        facts = self._facts(handler)
        _check_types(facts, requests)
        routes = handler.route(*requests)
        if isinstance(routes, Awaitable):
            routes = yield _Step(routes, suspends=True)
        groups = _grouped(facts, requests, routes)
        messages = self._encoded(facts, groups, requests)
        pipes = {route: Tube(handler, route).pipe for route in groups}
        for route, pipe in pipes.items():
            self.storage.check(pipe, messages[route])
        stored: set[Route] = set()
        follow_up = handling.get()
        for route, pipe in pipes.items():
            try:
                if not (yield _Step(self.storage.append(pipe, messages[route], follow_up=follow_up), suspends=False)):
                    if not (may_wait and self._waits_when_full()):
                        raise _full(facts, sum(route not in stored for route in routes))
                    yield _Step(self.storage.append_when_room(pipe, messages[route]), suspends=True)
            except QueueFull as full:
                full.not_accepted = [r for r, its in zip(requests, routes, strict=True) if its not in stored]
                raise
            stored.add(route)
        return len(requests)

    def _encoded(
        self, facts: _HandlerFacts, groups: dict[Route, list[Any]], requests: Sequence[Any]
    ) -> dict[Route, list[bytes]]:
        try:
            return {route: self.serializer.encode(facts.kind, group) for route, group in groups.items()}
        except RequestError:
            # Again in the order of the call, so that the error gives the position there and not that in a group.
            self.serializer.encode(facts.kind, requests)
            raise

    def _waits_when_full(self) -> bool:
        return self.storage.settings.when_full == "wait" and not handling.get()

    def _facts(self, handler: type[Handler[Any]]) -> _HandlerFacts:
        facts = self._kinds.get(handler)
        if facts is None:
            facts = _facts_of(handler)
            if self.storage.importable_only:
                check_importable(handler)
            self._kinds[handler] = facts
        self.handlers[facts.name] = handler
        return facts


class _HandlerFacts(NamedTuple):
    """What registering needs to know of a handler class, found out once."""

    name: str
    kind: Any
    types: frozenset[type] | None
    priorities: frozenset[int]


def _facts_of(handler: type[Handler[Any]]) -> _HandlerFacts:
    if not (isinstance(handler, type) and issubclass(handler, Handler)):
        raise HandlerError(f"{handler!r} is no handler class: derive it from shardq.Handler")
    kind = request_type(handler)
    check_failure_rules(handler)
    return _HandlerFacts(handler_name(handler), kind, concrete_types(kind), frozenset(check_priorities(handler)))


def _check_types(facts: _HandlerFacts, requests: Sequence[Any]) -> None:
    if facts.types is None or facts.types.issuperset(map(type, requests)):
        return
    position, request = next((n, r) for n, r in enumerate(requests) if type(r) not in facts.types)
    raise RequestError(
        f"request {position}, {request!r}, is a {type(request).__qualname__}, but {facts.name} takes "
        f"{getattr(facts.kind, '__qualname__', facts.kind)}"
    )


def _grouped(facts: _HandlerFacts, requests: Sequence[Any], routes: Any) -> dict[Route, list[Any]]:
    """Requests by route, in the order of their first appearance. Raises `HandlerError` for what `route()` got wrong."""
    if not isinstance(routes, Sequence) or len(routes) != len(requests):
        count = f"{len(routes)} routes" if isinstance(routes, Sequence) else repr(routes)
        raise HandlerError(f"{facts.name}.route() returned {count} for {len(requests)} requests: one each is needed")
    if not {Route}.issuperset(map(type, routes)):
        wrong = next(route for route in routes if type(route) is not Route)
        raise HandlerError(f"{facts.name}.route() returned {wrong!r}, which is no Route")
    groups: defaultdict[Route, list[Any]] = defaultdict(list)
    try:
        for request, route in zip(requests, routes, strict=True):
            groups[route].append(request)
    except TypeError:  # a route that cannot be a key is not made of two integers, which is said below
        groups.clear()
    for route in groups or routes:
        _check_route(facts, route)
    return groups


def _check_route(facts: _HandlerFacts, route: Route) -> None:
    if type(route.thread) is not int or route.thread < 0:
        raise HandlerError(f"{facts.name}.route() returned thread {route.thread!r}: it must be an integer from 0 up")
    if type(route.priority) is not int or route.priority not in facts.priorities:
        raise HandlerError(
            f"{facts.name}.route() returned priority {route.priority!r}, which is not among its priorities "
            f"{sorted(facts.priorities)}"
        )


def _full(facts: _HandlerFacts, left: int) -> QueueFull:
    reason = "inside a handler nobody waits" if handling.get() else "this call does not wait"
    return QueueFull(
        f"the storage has no room for {left} requests of {facts.name}, and {reason}: they are in not_accepted, "
        f"register them again later"
    )


def _refuse_missing_features(defer: Any, if_not_exists: bool, recurrent: Any) -> None:
    if defer is not None or if_not_exists or recurrent is not None:
        raise NotImplementedError("defer, if_not_exists and recurrent are not there yet in this version of shardq")


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _wait_for(awaitable: Awaitable[Any]) -> Any:
    async def wait() -> Any:
        return await awaitable

    return asyncio.run(wait())
