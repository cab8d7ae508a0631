"""What a handler class may declare of its routes. A producer refuses all else at the first `register`, a family when it
starts; a worker routes nothing, so it need not look.
"""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import Any

from shardq.annotations import annotated_names, signature
from shardq.errors import HandlerError, shown
from shardq.handler import Handler
from shardq.handling.info import info_of
from shardq.handling.route_by import is_declared, says_by
from shardq.model import handler_name
from shardq.text.printable import type_name


def check_route_by(handler: type[Handler[Any]]) -> None:
    """Raise `HandlerError` for a `route_by`, `threads` or `priority_by` that cannot be, in a class that `check_usable`
    found usable.
    """
    _check_written_once(handler)
    if is_declared(handler):
        _check_reads(handler, "route_by")
        _check_threads(handler)
        _check_priority_by(handler)
    elif inspect.getattr_static(handler, "route") is inspect.getattr_static(Handler, "route"):
        _check_needs_no_key(handler)


def _check_written_once(handler: type[Handler[Any]]) -> None:
    """Of a class that has both `route` and a declaration, nothing says which of them counts."""
    decides = next(base for base in handler.__mro__ if "route" in vars(base) or says_by(base))
    for attribute in ("route_by", "priority_by"):
        if "route" in vars(decides) and vars(decides).get(attribute) is not None:
            raise HandlerError(f"{handler_name(decides)} has both route() and {attribute}: delete one of them")


def _check_needs_no_key(handler: type[Handler[Any]]) -> None:
    for attribute in ("threads", "priority_by"):
        if getattr(handler, attribute) is not None:
            raise HandlerError(
                f"{handler_name(handler)}.{attribute} needs a route_by: write `route_by = ...` with the field that is "
                f"the key of a request, or `{attribute} = None`"
            )


def _check_threads(handler: type[Handler[Any]]) -> None:
    threads = handler.threads
    if threads is not None and (type(threads) is not int or threads < 1):
        raise HandlerError(
            f"{handler_name(handler)}.threads must be None or a number from 1 up, as in `threads = 16`, not "
            f"{shown(threads)}"
        )


def _check_priority_by(handler: type[Handler[Any]]) -> None:
    name, priorities = handler_name(handler), handler.priorities
    if handler.priority_by is not None:
        _check_reads(handler, "priority_by")
        if priorities is None:
            raise HandlerError(f"{name}.priority_by needs priorities: list them, as in `priorities = [0, 1, 9]`")
    elif priorities is not None and 0 not in priorities:
        raise HandlerError(
            f"{name}.route_by gives all requests priority 0, which is not among its priorities {shown(priorities)}: "
            f"write `priority_by = ...` with the field that is the priority of a request"
        )


def _check_reads(handler: type[Handler[Any]], attribute: str) -> None:
    """Raise `HandlerError` for what is neither a field of the requests nor a function of one request."""
    declared = getattr(handler, attribute)
    if isinstance(declared, str):
        for cls in sorted(info_of(handler).types or (), key=type_name):
            _check_field(f"{handler_name(handler)}.{attribute}", declared, cls)
    elif problem := _problem(declared):
        raise HandlerError(
            f"{handler_name(handler)}.{attribute} {problem}: write a field's name, or a function of one request, as in "
            f"`{attribute} = lambda request: request.{'priority' if attribute == 'priority_by' else 'user_id'}`"
        )


def _check_field(attribute: str, field: str, cls: type) -> None:
    if field in _fields(cls) or isinstance(inspect.getattr_static(cls, field, None), property | cached_property):
        return
    line, fields = attribute.rpartition(".")[2], _fields(cls)
    if fields:
        has, advice = f"whose fields are {', '.join(fields)}", f"`{line} = {fields[0]!r}`"
    else:
        value = f"request[{field!r}]" if issubclass(cls, dict) else "request"
        has, advice = "which has no fields", f"a function of one request, as in `{line} = lambda request: {value}`"
    raise HandlerError(
        f"{attribute} names {shown(field)}, but requests are of type {type_name(cls)}, {has}: write {advice}"
    )


def _fields(cls: type) -> list[str]:
    """The fields of named tuples, structs, pydantic models, dataclasses and other classes with annotations."""
    if issubclass(cls, dict):  # a TypedDict has keys
        return []
    for listing in ("_fields", "__struct_fields__", "model_fields", "__dataclass_fields__"):
        if found := list(getattr(cls, listing, ())):
            return found
    return [name for base in reversed(cls.__mro__) for name in annotated_names(base)]


def _problem(declared: Any) -> str:
    """Why something cannot be called with one request for its key. Empty: it can."""
    if not callable(declared):
        return f"is {shown(declared)}"
    if inspect.iscoroutinefunction(declared):
        return "is `async def`, but not awaited"
    if inspect.isgeneratorfunction(declared) or inspect.isasyncgenfunction(declared):
        return "has a `yield`, so that it returns no key"
    try:
        signature(declared).bind(None)
    except TypeError:
        return "is called with one request alone, which it does not take"
    except Exception:  # of what has no signature to read, or annotations that do not resolve
        return ""
    return ""
