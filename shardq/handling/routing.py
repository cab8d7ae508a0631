"""Which requests go where: what a handler takes, and what its `route()` says of each request."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from shardq.errors import HandlerError, RequestError, shown
from shardq.handler import Handler
from shardq.handling.info import HandlerInfo, check_usable, info_of
from shardq.model import Route
from shardq.recurrent import TIME_HANDLERS
from shardq.text.printable import type_name
from shardq.text.wording import counted

#: Numbers of threads are below this; a longer number would make no name.
_THREADS = 1 << 1024
#: Advice for a `route()` that returned something wrong.
_LINE = "write `return [Route(thread=request.number) for request in requests]`"


def usable(handler: type[Handler[Any]]) -> HandlerInfo:
    """What is known of a handler class. Raises `HandlerError` for one that nothing can be registered to."""
    if handler not in TIME_HANDLERS:
        check_usable(handler)
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


def grouped(info: HandlerInfo, requests: Sequence[Any], routes: Any) -> dict[Route, list[Any]]:
    """Requests by route, in the order of their first appearance. Raises `HandlerError` for what `route()` got wrong."""
    listed = isinstance(routes, Sequence) and not isinstance(routes, Route | str | bytes)
    if not listed or len(routes) != len(requests):
        raise HandlerError(_not_one_each(info, routes, len(requests)))
    if not {Route}.issuperset(map(type, routes)):
        wrong = next(route for route in routes if type(route) is not Route)
        raise HandlerError(
            f"{info.name}.route() returned {shown(wrong)}, which is no Route: {_LINE}, or with "
            f"Route.by(request.name) for a name"
        )
    groups: defaultdict[Route, list[Any]] = defaultdict(list)
    try:
        for request, route in zip(requests, routes, strict=True):
            groups[route].append(request)
    except TypeError:  # a route that cannot be a key is not made of two integers, which is said below
        groups.clear()
    for route in groups or routes:
        _check_route(info, route)
    return groups


def _not_one_each(info: HandlerInfo, routes: Any, count: int) -> str:
    if isinstance(routes, Route):
        returned = "one Route alone"
    elif isinstance(routes, Sequence) and not isinstance(routes, str | bytes):
        returned = counted(len(routes), "route")
    else:
        returned = shown(routes)
    given = counted(count, "request")
    return f"{info.name}.route() returned {returned} for {given}: a list with one for each is needed; {_LINE}"


def _check_route(info: HandlerInfo, route: Route) -> None:
    if type(route.thread) is not int or not 0 <= route.thread < _THREADS:
        advice = _advice(route.thread)
        raise HandlerError(
            f"{info.name}.route() returned thread {shown(route.thread)}: it must be an integer from 0 up, of at most "
            f"300 digits{advice}"
        )
    if type(route.priority) is not int or route.priority not in info.priorities:
        raise HandlerError(
            f"{info.name}.route() returned priority {shown(route.priority)}, which is not among its priorities "
            f"{shown(sorted(info.priorities))}"
        )


def _advice(thread: Any) -> str:
    if isinstance(thread, str | bytes | bytearray | int):
        return "; Route.by(key) makes one of any text, bytes or integer"
    return "; Route.by(str(key)) makes one of a text"
