"""Which requests go where: what a handler takes, and what its `route()` or its `route_by` says of each request."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from shardq.errors import HandlerError, RequestError, shown
from shardq.handler import Handler
from shardq.handling.info import HandlerInfo, check_usable, info_of
from shardq.handling.pipes import Pipes
from shardq.handling.route_by_checks import check_route_by
from shardq.model import Route
from shardq.recurrent import TIME_HANDLERS
from shardq.text.printable import type_name
from shardq.text.wording import counted

#: Advice for a `route()` that returned something wrong.
_LINE = "write `return [Route(thread=request.number) for request in requests]`"


def usable(handler: type[Handler[Any]]) -> HandlerInfo:
    """What is known of a handler class. Raises `HandlerError` for one that nothing can be registered to."""
    if handler not in TIME_HANDLERS:
        check_usable(handler)
        check_route_by(handler)
    return info_of(handler)


def wrong_type(info: HandlerInfo, requests: Sequence[Any]) -> RequestError:
    """The error for requests of which one is of another class than the handler's requests have."""
    position, request = next((n, r) for n, r in enumerate(requests) if type(r) not in (info.types or ()))
    advice = ": give requests one by one, as in register(Handler, *requests)" if type(request) in (list, tuple) else ""
    return RequestError(
        f"request {position}, {shown(request)}, is of type {type_name(type(request))}, but {info.name} takes "
        f"{getattr(info.kind, '__qualname__', info.kind)}{advice}"
    )


def check_routes(info: HandlerInfo, requests: Sequence[Any], routes: Any) -> None:
    """Raise `HandlerError` unless `route()` returned one `Route` for each request."""
    if not (type(routes) is list or _is_list_of_any_kind(routes)) or len(routes) != len(requests):
        raise HandlerError(_not_one_each(info, routes, len(requests)))
    if not {Route}.issuperset(map(type, routes)):
        wrong = next(route for route in routes if type(route) is not Route)
        raise HandlerError(
            f"{info.name}.route() returned {shown(wrong)}, which is no Route: {_LINE}, or with "
            f"Route.by(request.name) for a name"
        )


def grouped(pipes: Pipes, places: Sequence[Any], messages: Sequence[bytes]) -> dict[str, list[bytes]]:
    """Messages by the pipes of their places, in the order in which these came first. Raises `HandlerError` for a place
    that cannot be.
    """
    if len(places) == 1:  # a single request is the frequent case where each microsecond counts
        [message] = messages
        return {pipes.of(places[0]): [message]}
    try:
        # And where all are for one thread, a set says so in a third of the time that it takes to group them.
        if places and hash(places[0]) == hash(places[-1]) and len(set(places)) == 1:
            return {pipes.of(places[0]): list(messages)}
        groups: defaultdict[Any, list[bytes]] = defaultdict(list)
        for place, message in zip(places, messages, strict=True):
            groups[place].append(message)
    except TypeError:  # a route that cannot be a key is not made of two integers, which is said here
        for place in places:
            pipes.of(place)
        raise
    return {pipes.of(place): group for place, group in groups.items()}


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
