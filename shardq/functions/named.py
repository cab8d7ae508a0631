"""A function that workers find by its name, and the types of its items and results."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from operator import attrgetter
from typing import Any, NamedTuple

from shardq.annotations import signature
from shardq.encoding.codec import check_type
from shardq.errors import HandlerError, shown
from shardq.handler import Handler
from shardq.handling.request_types import item_type, returned_type
from shardq.model import MAIN_NAMES, MAIN_SCRIPT
from shardq.supervisor.code.script import UNSEEN, import_script
from shardq.text.portrait import line

#: What to do about a function that workers cannot import.
_ADVICE = "write it with `def` at the top of a module, and name that function"


class Function(NamedTuple):
    """A function of one argument."""

    name: str
    """`module:function`. For a function of a script that was started, the path of the script stands for the module."""
    call: Callable[[Any], Any]
    item: Any
    """Type of its argument; `Any` where it has no annotation."""
    result: Any
    """Type of what it returns; `Any` where it has no annotation, or one that does not resolve."""

    @property
    def waits(self) -> bool:
        """Whether it is a coroutine function."""
        return inspect.iscoroutinefunction(self.call)


def named(function: Any) -> Function:
    """What an application has to know of a function to have workers call it. Raises `HandlerError` for a function that
    they cannot import, or cannot call with one item.
    """
    name = _name(function)
    _check_call(name, function)
    known = _known(name, function)
    for kind, what in ((known.item, "takes"), (known.result, "returns")):
        try:
            check_type(kind)
        except HandlerError as error:
            raise HandlerError(f"{name} {what} what no message can hold: {error}") from error
    return known


@lru_cache(maxsize=256)
def found(name: str) -> Function:
    """The function that an application called by this name, in a worker. Imports its module where that is not imported
    yet. Raises `HandlerError`, `SupervisorError` and what the import raises.
    """
    where, _, qualified = name.rpartition(":")
    module = _script(where) if os.path.isabs(where) else import_module(where)
    try:
        function = attrgetter(qualified)(module)
    except AttributeError as error:
        raise HandlerError(f"{where} {UNSEEN.format(qualified)}") from error
    return _known(name, function)


def _known(name: str, function: Any) -> Function:
    try:
        return Function(name, function, item_type(function), returned_type(function))
    except Exception as error:  # all that a piece of source can raise
        raise HandlerError(
            f"the type of what {name} takes is not known: annotate a type that resolves when the program runs; "
            f"{line(error)}"
        ) from error


def _name(function: Any) -> str:
    module, qualified = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if isinstance(function, type) and issubclass(function, Handler):
        raise HandlerError(f"{qualified} is a handler: `queue.map({qualified}, requests)` is for its results")
    if not callable(function) or not isinstance(module, str) or not isinstance(qualified, str):
        raise HandlerError(f"{shown(function)} has no name by which workers could import it: {_ADVICE}")
    if "<lambda>" in qualified:
        raise HandlerError(f"a lambda of {module} has no name by which workers could import it: {_ADVICE}")
    if "<locals>" in qualified:
        raise HandlerError(f"{module}:{qualified} is defined inside a function, so workers cannot import it: {_ADVICE}")
    # A bound method is made anew each time that it is read, and equal to itself.
    if _attribute(sys.modules.get(module), qualified) != function:
        raise HandlerError(
            f"{module}:{qualified} is not what module {module} has under that name, as is a method of an instance: "
            f"workers would miss it; {_ADVICE}"
        )
    return f"{_place(module, qualified)}:{qualified}"


def _place(module: str, qualified: str) -> str:
    """The module that workers import: for one that was started, its real name or its path."""
    if module not in MAIN_NAMES:
        return module
    main = sys.modules[MAIN_SCRIPT]
    if main.__spec__ and main.__spec__.name != MAIN_SCRIPT:  # of a folder that was started it says nothing
        return main.__spec__.name
    path = getattr(main, "__file__", None) or ""
    if not os.path.isfile(path):
        raise HandlerError(
            f"{qualified} is defined in an interactive session or an archive, which workers cannot import: put it "
            f"into a file"
        )
    return os.path.abspath(path)


def _attribute(module: Any, qualified: str) -> Any:
    try:
        return attrgetter(qualified)(module)
    except AttributeError:
        return None


def _script(path: str) -> Any:
    """The script that an application was started with, imported at most once."""
    main = sys.modules[MAIN_SCRIPT]
    if os.path.abspath(getattr(main, "__file__", None) or "") != path:
        import_script(path)
    return sys.modules[MAIN_SCRIPT]


def _check_call(name: str, function: Any) -> None:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise HandlerError(f"{name} has a `yield`, so that nothing in it would run: let it return a list")
    try:
        its = signature(function, follow_wrapped=False)
    except (TypeError, ValueError):  # of what has no signature to read
        return
    try:
        its.bind(None)
    except TypeError as error:
        raise HandlerError(
            f"{name} is called with one item, and cannot be ({error}): write a function of one argument, which may be "
            f"a tuple or a class of yours"
        ) from None
