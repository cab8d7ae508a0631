"""What has to be true of a handler class before anything is registered to it or served by it. `info` says when each of
these checks is made.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Sequence
from typing import Any, get_args, get_origin

from shardq.annotations import signature
from shardq.errors import HandlerError, shown
from shardq.handler import Handler
from shardq.model import Retry, handler_name
from shardq.settings import LONGEST_S

#: The form of each method, as a handler may have it. `{}` is the name of the request type.
_FORMS = {
    "handle": "def handle(self, *requests: {}) -> None:",
    "perform": "def perform(self, *requests: {}) -> None:",
    "route": "def route(cls, *requests: {}) -> list[Route]:",
    "create": "def create(cls) -> Self:",
    "start": "def start(self) -> None:",
    "stop": "def stop(self) -> None:",
    "batch_size": "def batch_size(self) -> int:",
}
#: Called on the class, before there is an instance.
_OF_CLASS = ("route", "create")
#: Called with a batch.
_OF_REQUESTS = ("handle", "perform", "route")
_TAKES_ONE = "takes one request, but gets a batch of them"
#: Annotations of a parameter that is meant to get the whole batch as one argument.
_BATCHES = (list, tuple, Sequence, Iterable, Collection)
#: So many requests that only a method with `*` can take them.
_MANY = 256


def does_something(handler: type[Handler[Any]]) -> bool:
    """Whether a class says what to do with its requests, and is more than a base for others."""
    return handler.handle is not Handler.handle or handler.perform is not Handler.perform


def check_failure_rules(handler: type[Handler[Any]]) -> None:
    """Raise `HandlerError` for a `retry`, `errors` or `timeout_s` that cannot be."""
    if not isinstance(handler.retry, Retry):
        raise HandlerError(f"{handler_name(handler)}.retry must be a shardq.Retry, not {shown(handler.retry)}")
    errors: Any = handler.errors
    if type(errors) is not tuple or not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in errors):
        raise HandlerError(
            f"{handler_name(handler)}.errors must be a tuple of exception classes, as (BadImage,), not {shown(errors)}"
        )
    limit_s = handler.timeout_s
    if limit_s is None:
        return
    if isinstance(limit_s, bool) or not isinstance(limit_s, int | float) or not 0 < limit_s <= LONGEST_S:
        raise HandlerError(
            f"{handler_name(handler)}.timeout_s must be None or a number of seconds, more than 0 and at most 10 years, "
            f"not {shown(limit_s)}"
        )


def check_secret_fields(handler: type[Handler[Any]]) -> None:
    """Raise `HandlerError` for `secret_fields` that are no names."""
    names: Any = handler.secret_fields
    if type(names) is not tuple or not all(isinstance(name, str) for name in names):
        raise HandlerError(
            f"{handler_name(handler)}.secret_fields must be a tuple of names, as ('token',), not {shown(names)}"
        )


def check_priorities(handler: type[Handler[Any]]) -> tuple[int, ...]:
    """The priorities a handler's requests may have, in order of service. Raises `HandlerError` for `priorities` and for
    a `starvation_limit` that cannot be.
    """
    priorities = (0,) if handler.priorities is None else handler.priorities
    if not isinstance(priorities, list | tuple) or not priorities or not all(type(p) is int for p in priorities):
        raise HandlerError(f"{handler_name(handler)}.priorities must be a list of integers, not {shown(priorities)}")
    if any(not -(1 << 63) <= priority < 1 << 63 for priority in priorities):
        raise HandlerError(f"{handler_name(handler)}.priorities must fit 64 bits, unlike {shown(priorities)}")
    order = tuple(dict.fromkeys(priorities))
    limit = handler.starvation_limit
    if limit is not None and (type(limit) is not int or limit < len(order)):
        raise HandlerError(
            f"{handler_name(handler)}.starvation_limit must be None or a number from {len(order)} up, one batch for "
            f"each of its priorities, not {shown(limit)}"
        )
    return order


def check_batch_size(handler: type[Handler[Any]], *, one_by_one: bool) -> None:
    """Raise `HandlerError` for a `batch_size` that is neither a method nor a number of requests."""
    if not callable(handler.batch_size) and handler.batch_size is not None:
        checked_size(handler, handler.batch_size, one_by_one=one_by_one)


def checked_size(handler: type[Handler[Any]], size: Any, *, one_by_one: bool) -> int:
    """The most requests in a batch. Raises `HandlerError` for what cannot be that."""
    if type(size) is not int or size < 1:
        raise HandlerError(
            f"{handler_name(handler)}.batch_size must be a number from 1 up, or None, or a method that returns that; "
            f"not {shown(size)}"
        )
    if size > 1 and one_by_one:
        raise HandlerError(
            f"{handler_name(handler)}.{_work_of(handler)}() takes one request, but gets batches of up to "
            f"{shown(size)}: write `*requests`, or `batch_size = 1`"
        )
    return int(size)


def check_methods(handler: type[Handler[Any]], kind: Any) -> bool:
    """Whether the method that does the work takes one request only. Raises `HandlerError` for a method that cannot be
    called as it will be.
    """
    one_by_one = False
    for method, form in _FORMS.items():
        own = inspect.getattr_static(handler, method)
        if own is inspect.getattr_static(Handler, method) or (method == "perform" and _work_of(handler) == "handle"):
            continue
        one_by_one |= method == _work_of(handler) and _takes(handler, method, 1) and not _takes(handler, method, _MANY)
        if problem := _problem(handler, method, own):
            above = "@classmethod` and below it `" if method in _OF_CLASS else ""
            line = form.format(_name_of(kind, takes_batch=problem == _TAKES_ONE))
            alone = ", or `batch_size = 1`" if problem == _TAKES_ONE and method == _work_of(handler) else ""
            raise HandlerError(f"{handler_name(handler)}.{method}() {problem}: write `{above}{line}`{alone}")
    return one_by_one


def check_can_be_made(handler: type[Handler[Any]]) -> None:
    """Raise `HandlerError` for a class that `create` cannot call, where the handler has no `create` of its own."""
    if inspect.getattr_static(handler, "create") is not inspect.getattr_static(Handler, "create"):
        return
    if missing := getattr(handler, "__abstractmethods__", None):
        raise HandlerError(f"{handler_name(handler)} is abstract: write its {', '.join(sorted(missing))}")
    if _is_made_as_any_object(handler):
        return
    try:
        its = signature(handler, follow_wrapped=False)
    except Exception:  # of what has no signature to read
        return
    try:
        its.bind()
    except TypeError:
        raise HandlerError(
            f"{handler_name(handler)}.__init__() needs arguments, but create() gives it none: write `@classmethod` and "
            f"below it `{_FORMS['create']}` with `return cls(...)`"
        ) from None


def _is_made_as_any_object(handler: Any) -> bool:
    """Whether no code of its own makes it. Nearly no handler has any, and to read the signature that all objects share
    would take milliseconds of the first call of a process.
    """
    makes = type(handler).__call__ is type.__call__ and handler.__new__ is object.__new__
    return makes and handler.__init__ is object.__init__


def _name_of(kind: Any, *, takes_batch: bool) -> str:
    """How a request type is written. Where the one parameter of a method was meant to be the batch, as a list of
    requests, it is the type of what is in that list.
    """
    if takes_batch and get_origin(kind) in _BATCHES:
        kind = get_args(kind)[0]
    return kind.__name__ if isinstance(kind, type) else str(kind)


def _problem(handler: type[Handler[Any]], method: str, own: Any) -> str:
    function = getattr(handler, method)
    if not callable(function):
        is_number = method == "batch_size"  # `check_batch_size` looks at its value
        return "" if is_number else f"cannot be called, since it is {shown(function)}"
    if method in _OF_CLASS and inspect.isfunction(own):
        return "is called on the class, but is no classmethod"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return "has a `yield`, so that nothing in it would run"
    if method == "batch_size" and inspect.iscoroutinefunction(function):
        return "is `async def`, but not awaited"
    if method not in _OF_REQUESTS:
        return "" if _takes(handler, method, 0) else "needs arguments, but gets none"
    if not _takes(handler, method, 1):
        return "cannot be called with requests alone"
    # With a `batch_size` there may never be more than one.
    alone = method != "route" and (handler.batch_size == 1 or _overrides(handler, "batch_size"))
    if not _takes(handler, method, _MANY) and not alone:
        return _TAKES_ONE
    return ""


def _takes(handler: type[Handler[Any]], method: str, count: int) -> bool:
    """Whether a method can be called with so many arguments. A decorator counts, not what it decorates."""
    function = getattr(handler, method)
    try:
        its = signature(function, follow_wrapped=False)
    except Exception:  # of what has no signature to read, or annotations that do not resolve
        return True
    with_self = inspect.isfunction(inspect.getattr_static(handler, method)) and method not in _OF_CLASS
    try:
        its.bind(*[None] * (count + with_self))
    except TypeError:
        return False
    return True


def _overrides(handler: type[Handler[Any]], method: str) -> bool:
    return callable(getattr(handler, method)) and inspect.getattr_static(handler, method) is not (
        inspect.getattr_static(Handler, method)
    )


def _work_of(handler: type[Handler[Any]]) -> str:
    """Which method of a handler does the work."""
    return "perform" if handler.handle is Handler.handle else "handle"
