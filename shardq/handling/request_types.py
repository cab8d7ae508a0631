"""The types of a handler's requests and results: read off its annotations, or off its `Handler[Request, Result]`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePath
from types import SimpleNamespace, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

from shardq.annotations import signature
from shardq.encoding.round_trip import reason_of
from shardq.errors import HandlerError
from shardq.handler import Handler
from shardq.model import handler_name
from shardq.text.printable import type_name

#: The methods that do the work of a batch.
_METHODS = ("handle", "perform")
#: Values of these come back with the same class, whatever the type of their members.
_CONTAINERS = (list, tuple, dict, set, frozenset)


def find_request_type(handler: type[Handler[Any]]) -> Any:
    """The type of a handler's requests. Raises `HandlerError` where nothing that resolves says it."""
    unresolved = ""
    for where, resolve in _sources(handler):
        try:
            kind = resolve()
            hash(kind)  # by which its decoder is found again
        except Exception as error:  # all that a piece of source can raise
            unresolved = unresolved or f"that of {where} does not ({type_name(type(error))}: {reason_of(error)})"
            continue
        if kind is not None and not isinstance(kind, TypeVar):
            return kind
    name = handler_name(handler)
    if unresolved:
        raise HandlerError(
            f"the request type of {name} is not known: annotate a type that resolves when the program runs; "
            f"{unresolved}: correct its spelling, and import what it names outside of `if TYPE_CHECKING:`"
        )
    raise HandlerError(
        f"the request type of {name} is not known: annotate its method, as in "
        f"`def perform(self, *requests: MyRequest)`, or derive it from Handler[MyRequest]"
    )


def concrete_types(kind: Any) -> frozenset[type] | None:
    """The classes instances of a request type have. None where that cannot be told from the class alone."""
    if kind in (Any, object):
        return None
    if is_typeddict(kind):
        return frozenset((dict,))
    if kind in (Path, PurePath):  # all that these make are of a class of the system
        return frozenset((type(kind()),))
    if isinstance(kind, type) and not get_args(kind):
        return frozenset((kind,))
    if get_origin(kind) in _CONTAINERS:
        return frozenset((get_origin(kind),))
    if get_origin(kind) in (Union, UnionType):
        members = [concrete_types(member) for member in get_args(kind)]
        return None if None in members else frozenset().union(*(member for member in members if member))
    return None


def find_result_type(handler: type[Handler[Any]], *, one_by_one: bool) -> Any:
    """The type of each result of a handler. None: it says none, or one that does not resolve. `one_by_one`: its method
    takes one request, and returns one result.
    """
    for cls, _, _, result in _generics(handler):
        if result is not None and not isinstance(result, TypeVar) and result is not Any:
            return _of_base(cls, result)
    for name in _METHODS:
        method = inspect.unwrap(getattr(handler, name))
        if method not in (Handler.handle, Handler.perform):
            returned = _returned(method)
            if one_by_one:
                return returned
            of_list = get_args(returned) if get_origin(returned) in (list, Sequence) else ()
            return of_list[0] if of_list else None
    return None


def item_type(function: Any) -> Any:
    """The type of the one argument of a function. `Any`: it has no annotation. Raises what an annotation raises that
    does not resolve.
    """
    function = inspect.unwrap(function)
    try:
        parameters = list(signature(function).parameters.values())
    except (TypeError, ValueError):  # of what has no signature to read
        return Any
    if not parameters or parameters[0].annotation is inspect.Parameter.empty:
        return Any
    kind = _resolved(parameters[0].annotation, _names(function))
    hash(kind)  # by which its decoder is found again
    return Any if isinstance(kind, TypeVar) else kind


def returned_type(function: Any) -> Any:
    """The type of what a function returns. `Any`: it has no annotation, or one that does not resolve."""
    kind = _returned(inspect.unwrap(function))
    return Any if kind is None or isinstance(kind, TypeVar) else kind


def _names(function: Any) -> dict[str, Any]:
    """The names that annotations of a function may use."""
    module = sys.modules.get(function.__module__)
    return getattr(function, "__globals__", vars(module) if module else {})


def _returned(method: Any) -> Any:
    """What the annotation of a method says that it returns. None: nothing, or it does not resolve."""
    try:
        annotation = signature(method).return_annotation
        if annotation is inspect.Signature.empty:
            return None
        kind = _resolved(annotation, getattr(method, "__globals__", {}))
    except Exception:  # all that a piece of source can raise
        return None
    return None if kind is type(None) else kind


def _sources(handler: type[Handler[Any]]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The places that may say the request type, the most telling first, each with a function that resolves it."""
    for name in _METHODS:
        method = inspect.unwrap(getattr(handler, name))
        if method not in (Handler.handle, Handler.perform):
            yield f"{name}()", partial(_of_method, method)
    for cls, base, request, _ in _generics(handler):
        yield f"the base {base}[...] of {cls.__qualname__}", partial(_of_base, cls, request)


def _generics(handler: type[Handler[Any]]) -> Iterator[tuple[type, str, Any, Any]]:
    """Bases like `Handler[Request, Result]`: the class that has one, the name of the base, and what it says of the
    types of requests and of results. None: nothing.
    """
    for cls in handler.__mro__:
        for base in _handler_bases(cls):
            yield cls, get_origin(base).__name__, *_said_of_handler(base)


def _said_of_handler(base: Any) -> Sequence[Any]:
    """What a base like `Middle[Job]` says of the two parameters of `Handler`: those of `Middle` may be others."""
    origin, arguments = get_origin(base), get_args(base)
    while origin is not Handler:
        further = next(iter(_handler_bases(origin)), None)
        if further is None:
            return None, None
        given = dict(zip(origin.__parameters__, arguments, strict=False))
        origin, arguments = get_origin(further), tuple(_filled_in(its, given) for its in get_args(further))
    return arguments


def _handler_bases(cls: Any) -> list[Any]:
    """The bases of a class that are handlers with arguments."""
    bases = vars(cls).get("__orig_bases__", ())
    return [base for base in bases if isinstance(its := get_origin(base), type) and issubclass(its, Handler)]


def _filled_in(argument: Any, given: dict[Any, Any]) -> Any:
    """What a class makes of an argument with type variables by giving them values. None: it says nothing of it."""
    if isinstance(argument, TypeVar):
        return given.get(argument)
    values = [given.get(parameter) for parameter in getattr(argument, "__parameters__", ())]
    return argument[tuple(values)] if values and None not in values else None


def _of_method(method: Any) -> Any:
    """The annotation of a method's requests. None: it has none."""
    try:
        parameters = list(signature(method).parameters.values())[1:]
    except (TypeError, ValueError):  # of what has no signature to read
        return None
    if not parameters or parameters[0].annotation is inspect.Parameter.empty:
        return None
    return _resolved(parameters[0].annotation, getattr(method, "__globals__", {}))


def _of_base(cls: type, argument: Any) -> Any:
    """The type that an argument of a base of this class stands for. None: it is none."""
    if argument is None:
        return None
    return _resolved(argument, vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {})


def _resolved(annotation: Any, names: dict[str, Any]) -> Any:
    """The type that an annotation stands for, and no other of its method: those need not resolve."""
    holder = SimpleNamespace(__annotations__={"requests": annotation})
    return get_type_hints(holder, names, names, include_extras=True)["requests"]
