"""Which requests go where: what a handler takes, and what its `route()` or its `route_by` says of each request."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from shardq.errors import HandlerError, RequestError, shown
from shardq.handler import Handler
from shardq.handling.info import HandlerInfo, check_usable, info_of
from shardq.handling.route_by_checks import check_route_by
from shardq.model import Route
from shardq.recurrent import TIME_HANDLERS
from shardq.text.printable import type_name
from shardq.text.wording import counted

#: Numbers of threads are below this; a longer number would make no name.
_THREADS = 1 << 1024
#: Advice for a `route()` that returned something wrong.
_LINE = "write `return [Route(thread=request.number) for request in requests]`"


class Addressed(NamedTuple):
    """Where the messages of a call go."""

    groups: dict[str, list[bytes]]
    """The messages of each pipe. The pipes are in the order in which they came first."""
    pipe: Callable[[Any], str]
    """The pipe of a place."""
    places: Sequence[Any]
    """One for each request."""

    @property
    def pipes(self) -> Iterable[str]:
        """The pipe of each request."""
        return map(self.pipe, self.places)


def usable(handler: type[Handler[Any]]) -> HandlerInfo:
    """What is known of a handler class. Raises `HandlerError` for one that nothing can be registered to."""
    if handler not in TIME_HANDLERS:
        check_usable(handler)
        check_route_by(handler)
    return info_of(handler)


def check_types(info: HandlerInfo, requests: Sequence[Any]) -> None:
    """Raise `RequestError` for a request of another class than the handler's requests have."""
    if info.types is None or info.types.issuperset(map(type, requests)):
        return
    position, request = next((n, r) for n, r in enumerate(requests) if type(r) not in info.types)
    advice = ": give requests one by one, as in register(Handler, *requests)" if type(request) in (list, tuple) else ""
    raise RequestError(
        f"request {position}, {shown(request)}, is of type {type_name(type(request))}, but {info.name} takes "
        f"{getattr(info.kind, '__qualname__', info.kind)}{advice}"
    )


def addressed(info: HandlerInfo, requests: Sequence[Any], routes: Any, messages: Sequence[bytes]) -> Addressed:
    """Messages by the pipes of what `route()` returned. Raises `HandlerError` for what it got wrong."""
    if not (type(routes) is list or _is_list_of_any_kind(routes)) or len(routes) != len(requests):
        raise HandlerError(_not_one_each(info, routes, len(requests)))
    if not {Route}.issuperset(map(type, routes)):
        wrong = next(route for route in routes if type(route) is not Route)
        raise HandlerError(
            f"{info.name}.route() returned {shown(wrong)}, which is no Route: {_LINE}, or with "
            f"Route.by(request.name) for a name"
        )
    pipe = partial(_checked_pipe, info, info.priorities)
    try:
        return grouped(pipe, routes, messages)
    except TypeError:  # a route that cannot be a key is not made of two integers, which is said below
        for route in routes:
            pipe(route)
        raise


def grouped(pipe: Callable[[Any], str], places: Sequence[Any], messages: Sequence[bytes]) -> Addressed:
    """Messages by the pipes of their places."""
    if len(places) == 1:  # a single request is the frequent case where each microsecond counts
        [message] = messages
        return Addressed({pipe(places[0]): [message]}, pipe, places)
    # And where all are for one thread, a set says so in a third of the time that it takes to group them.
    if places and hash(places[0]) == hash(places[-1]) and len(set(places)) == 1:
        return Addressed({pipe(places[0]): list(messages)}, pipe, places)
    groups: defaultdict[Any, list[bytes]] = defaultdict(list)
    for place, message in zip(places, messages, strict=True):
        groups[place].append(message)
    return Addressed({pipe(place): group for place, group in groups.items()}, pipe, places)


def _not_one_each(info: HandlerInfo, routes: Any, count: int) -> str:
    if isinstance(routes, Route):
        returned = "one Route alone"
    elif isinstance(routes, Sequence) and not isinstance(routes, str | bytes):
        returned = counted(len(routes), "route")
    else:
        returned = shown(routes)
    given = counted(count, "request")
    return f"{info.name}.route() returned {returned} for {given}: a list with one for each is needed; {_LINE}"


def _is_list_of_any_kind(routes: Any) -> bool:
    return isinstance(routes, Sequence) and not isinstance(routes, Route | str | bytes)


def _checked_pipe(info: HandlerInfo, priorities: Sequence[int], route: Route) -> str:
    """The pipe of a route. Raises `HandlerError` for a route that cannot be."""
    thread, priority = route
    if type(thread) is not int or not 0 <= thread < _THREADS:
        advice = _advice(thread)
        raise HandlerError(
            f"{info.name}.route() returned thread {shown(thread)}: it must be an integer from 0 up, of at most "
            f"300 digits{advice}"
        )
    if type(priority) is not int or priority not in priorities:
        raise HandlerError(
            f"{info.name}.route() returned priority {shown(priority)}, which is not among its priorities "
            f"{shown(sorted(priorities))}"
        )
    return info.pipe(route)


def _advice(thread: Any) -> str:
    if isinstance(thread, str | bytes | bytearray | int):
        return "; Route.by(key) makes one of any text, bytes or integer"
    return "; Route.by(str(key)) makes one of a text"
