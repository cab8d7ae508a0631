"""All that is known of a handler class.

The request type and the forms of its methods stand in its code and are found out once for each class. Its attributes
are read and checked when they are asked for, since they may change.
"""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import Any
from weakref import WeakKeyDictionary, ref

from shardq.encoding.secrets import Secrets, secrets_of
from shardq.errors import HandlerError
from shardq.handler import Handler, check_is_handler, does_nothing
from shardq.handling.checks import (
    check_batch_size,
    check_can_be_made,
    check_failure_rules,
    check_methods,
    check_priorities,
    check_secret_fields,
    checked_size,
    does_something,
)
from shardq.handling.pipes import Pipes, PipesOfRoutes
from shardq.handling.request_types import concrete_types, find_request_type, find_result_type
from shardq.handling.route_by import RouteBy, is_declared
from shardq.model import Terms, handler_name
from shardq.text.portrait import line

#: No attribute of a class.
_NOT_READ = object()


class HandlerInfo:
    """Get one from `info_of`. It does not keep its class alive."""

    __slots__ = (
        *("_class", "_pipes", "_priorities", "_read", "_secrets"),
        *("by", "kind", "name", "one_by_one", "result", "suspends", "types"),
    )

    def __init__(self, handler: type[Handler[Any]]) -> None:
        """Raises `HandlerError` for code that cannot be served."""
        self._class = ref(handler)
        self.name = handler_name(handler)
        self.kind = find_request_type(handler)
        """Type of its requests."""
        self.types = concrete_types(self.kind)
        """Classes instances of that have. None where the type does not tell."""
        self.one_by_one = check_methods(handler, self.kind)
        """Whether the method that does the work takes one request, and no batch."""
        self.suspends = iscoroutinefunction(getattr(handler, "perform" if self.one_by_one else "handle", None))
        """Whether the method that does the work is `async def`. Other code may return what can be awaited as well."""
        self.result = find_result_type(handler, one_by_one=self.one_by_one)
        """Type of its results. None: it says none."""
        check_can_be_made(handler)
        self.by = RouteBy(handler) if is_declared(handler) else None
        """Where its requests go, if it declares that. None: its `route` says so."""
        self._read: tuple[Any, Any] = _NOT_READ, None
        """Its `priorities` and its `starvation_limit` when they were checked last."""
        self._priorities: tuple[int, ...] = ()
        self._pipes: PipesOfRoutes
        self._secrets: Secrets | None = None

    @property
    def priorities(self) -> tuple[int, ...]:
        """Those that its requests may have, in order of service. Raises `HandlerError` for what cannot be that."""
        self._look_again()
        return self._priorities

    def pipes(self) -> Pipes:
        """Those of the places that its requests may go to. Raises `HandlerError` as `priorities`. It is no property:
        each microsecond counts here, and Python calls a method in half of the time.
        """
        if self.by is not None:
            return self.by.pipes
        handler, read = self._class(), self._read
        # Compared here as well: a call less for each `register`.
        if handler is None or handler.priorities is not read[0] or handler.starvation_limit != read[1]:
            self._look_again()
        return self._pipes

    def _look_again(self) -> None:
        """Read the attributes again that say where requests may go."""
        handler = self._handler
        if handler.priorities is not self._read[0] or handler.starvation_limit != self._read[1]:
            read = handler.priorities, handler.starvation_limit  # first: what changes afterwards is found the next time
            self._priorities = check_priorities(handler)
            self._pipes = PipesOfRoutes(self.name, self._priorities)
            self._read = read

    @property
    def secrets(self) -> Secrets:
        """Where its requests have secrets."""
        if self._secrets is None:
            self._secrets = secrets_of(self.kind, self._handler.secret_fields)
        return self._secrets

    @property
    def secrets_of_results(self) -> Secrets:
        """Where a list of its results has secrets."""
        return secrets_of(self.result, self._handler.secret_fields).of_each()

    def check(self) -> None:
        """Raise `HandlerError` where the class does nothing, or says something about itself that cannot be."""
        handler = self._handler
        check_priorities(handler)
        check_failure_rules(handler)
        check_secret_fields(handler)
        check_batch_size(handler, one_by_one=self.one_by_one)
        if not does_something(handler):
            raise HandlerError(does_nothing(handler))

    def batch_size(self, instance: Handler[Any], otherwise: int) -> int:
        """Most requests in a batch of this handler; `otherwise` where it does not say. Raises `HandlerError` for a size
        that cannot be, and what its method raises.
        """
        said = instance.batch_size
        size = said() if callable(said) else said
        return checked_size(self._handler, otherwise if size is None else size, one_by_one=self.one_by_one)

    def terms(self, batch_size: int) -> Terms | None:
        """What a worker can tell the storage about threads of the handler before it has made one, with this size where
        the class says none. None where only an instance can say.

        A storage acknowledges a batch and hands out a batch of the next thread in one step. So it has to know before
        that step how large the next batch may be.
        """
        handler = self._handler
        said = batch_size if _is_default(handler, "batch_size") else handler.batch_size
        size = batch_size if said is None else said
        try:
            self.check()
        except HandlerError:  # it is raised again, and logged, where the handler is made
            return None
        if type(size) is not int or (size > 1 and self.one_by_one):
            return None
        return Terms(self.priorities, size, handler.timeout_s, handler.starvation_limit)

    def begins_at_once(self) -> bool:
        """Whether no code of the handler runs before its first batch and after its last one. Otherwise it is made and
        started before it is handed a batch: should the process die in that code, the batch would get the blame.
        """
        handler = self._handler
        made_by_python = handler.__init__ is object.__init__ and handler.__new__ is object.__new__
        defaults = (_is_default(handler, name) for name in ("create", "start", "stop"))
        return made_by_python and type(handler) is type and all(defaults)

    @property
    def _handler(self) -> type[Handler[Any]]:
        handler = self._class()
        assert handler is not None, "the class is gone"
        return handler


#: Reading annotations takes longer than all else that a worker does to bind.
_known: WeakKeyDictionary[type[Any], HandlerInfo] = WeakKeyDictionary()


def info_of(handler: type[Handler[Any]]) -> HandlerInfo:
    """What is known of a handler class. Raises `HandlerError` for code that cannot be served."""
    info = _known.get(handler)
    if info is None:
        info = _known[handler] = HandlerInfo(handler)
    return info


def request_type(handler: type[Handler[Any]]) -> Any:
    """The type of a handler's requests. Raises `HandlerError` where nothing says it."""
    return info_of(handler).kind


def check_usable(handler: Any) -> None:
    """Raise `HandlerError` for what can be neither registered to nor served: it is no handler class, does nothing, has
    a method that cannot be called as it will be, or says something about itself that cannot be.
    """
    check_is_handler(handler)
    try:
        info_of(handler).check()
    except HandlerError:
        raise
    except Exception as error:  # of attributes that run code when they are read
        raise HandlerError(f"{handler_name(handler)} cannot be looked at: {line(error)}") from error


def _is_default(handler: type[Handler[Any]], name: str) -> bool:
    """Whether the class has there what `Handler` has. No code of the class is run."""
    found = next(vars(kind)[name] for kind in handler.__mro__ if name in vars(kind))
    return found is vars(Handler)[name]
