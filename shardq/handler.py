"""What users write: a class that does the work, in batches, and says where each request belongs.

Each of `create`, `route`, `start`, `handle`, `perform` and `stop` may be `async def` or plain `def`; plain is right for
work that keeps a core busy.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Awaitable, Iterable, Iterator
from contextvars import ContextVar
from typing import (
    Any,
    ClassVar,
    Generic,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)
from weakref import WeakKeyDictionary

from shardq.errors import HandlerError, shown
from shardq.model import MAIN_SCRIPT, Retry, Route, handler_name
from shardq.protocols import InHand, Registrar
from shardq.settings import LONGEST_S

Request = TypeVar("Request")

#: True while a handler's code runs: what it registers must not wait for room that only it could make.
handling: ContextVar[bool] = ContextVar("shardq_handling", default=False)

#: Request types that were found: to read annotations takes longer than all else that a worker does to bind.
_request_types: WeakKeyDictionary[type[Any], Any] = WeakKeyDictionary()


class Handler(Generic[Request]):
    """Base of all handlers. Override `handle` or `perform`; the request type is read from its annotation, or from
    `Handler[Request]`.

    A worker that binds to a thread calls `create`, `start`, then `handle` for each batch, and `stop` when it leaves the
    thread. Requests are acknowledged when `handle` returns.

    Class attributes: `priorities`, those that requests may be routed to, first served first (None: only 0);
    `starvation_limit`, in how many batches each of them has its turn (None: strictly by priority); `retry`, a `Retry`
    that says what happens to requests that fail; `timeout_s`, most seconds for a batch (None: no limit).
    """

    priorities: ClassVar[list[int] | None] = None
    """Priorities requests may be routed to, first served first. None: only 0."""
    starvation_limit: ClassVar[int | None] = None
    """With several priorities, each of them is looked into first at least once in so many batches of the thread, so
    that the lower ones wait for no more. At least as many as there are priorities. None: strictly by priority, lower
    ones may starve."""
    retry: ClassVar[Retry] = Retry()
    """What happens to requests that fail."""
    timeout_s: ClassVar[float | None] = None
    """Most seconds for one batch. Then the handler is interrupted by an exception, and where that does not end it, a
    second later its worker is killed; both count as a failure. At most 10 years; None: as long as it takes."""
    queue: Registrar
    """The queue this handler is served from, set before `start`: for follow-up requests."""

    @classmethod
    def create(cls) -> Any:
        """Make the instance that serves a thread. For handlers with dependencies."""
        return cls()

    @classmethod
    def route(cls, *requests: Any) -> Any:
        """One `Route` for each request, in order. Default: thread 0, priority 0."""
        return [Route()] * len(requests)

    def start(self) -> Any:
        """Called once before the first batch of a binding."""

    def handle(self, *requests: Any) -> Any:
        """Do the work of a batch. Default: `perform`."""
        return self.perform(*requests)

    def perform(self, *requests: Any) -> Any:
        """Do the work of a batch."""
        raise HandlerError(_does_nothing(type(self)))

    def stop(self) -> Any:
        """Called once when the worker leaves the thread."""

    def batch_size(self) -> int | None:
        """Most requests in one `handle` call. None: the worker's setting."""
        return None

    async def acknowledge(self, count: int) -> None:
        """Say that the first `count` requests of the batch in hand are done: whatever happens now, only the others come
        again. `count` is from the beginning of the batch each time, not from the last call. For long batches; when
        `handle` returns, all are. Raises `HandlerError` outside of `handle` and for a
        count that the batch does not have, `FencedError` where the thread is another worker's by now.
        """
        if self._in_hand is None:
            raise HandlerError(f"{handler_name(type(self))}.acknowledge() was called, but there is no batch in hand")
        await self._in_hand.acknowledge(count)

    def acknowledge_sync(self, count: int) -> None:
        """`acknowledge` for plain handlers."""
        drive(self.acknowledge(count))

    _in_hand: InHand | None = None


async def call(function: Any, *arguments: Any) -> Any:
    """Call a method that may be `async def` or plain `def`, as a handler's code."""
    token = handling.set(True)
    try:
        result = function(*arguments)
        return await result if isinstance(result, Awaitable) else result
    finally:
        handling.reset(token)


def drive(awaitable: Awaitable[Any]) -> Any:
    """The result of something that does not suspend. Raises `HandlerError` where it does."""
    steps = awaitable.__await__()
    try:
        next(steps)
    except StopIteration as end:
        return end.value
    getattr(steps, "close", lambda: None)()
    raise HandlerError("this cannot wait where an event loop runs: use the form with `await` there")


def check_is_handler(handler: Any) -> None:
    """Raise `HandlerError` for what is no handler class."""
    if not (isinstance(handler, type) and issubclass(handler, Handler)):
        raise HandlerError(f"{shown(handler)} is no handler class: derive it from shardq.Handler")


def check_failure_rules(handler: type[Handler[Any]]) -> None:
    """Raise `HandlerError` for a `retry` or `timeout_s` that cannot be."""
    if not isinstance(handler.retry, Retry):
        raise HandlerError(f"{handler_name(handler)}.retry must be a shardq.Retry, not {shown(handler.retry)}")
    limit_s = handler.timeout_s
    if limit_s is None:
        return
    if isinstance(limit_s, bool) or not isinstance(limit_s, int | float) or not 0 < limit_s <= LONGEST_S:
        raise HandlerError(
            f"{handler_name(handler)}.timeout_s must be None or a number of seconds, more than 0 and at most 10 years, "
            f"not {shown(limit_s)}"
        )


def does_something(handler: type[Handler[Any]]) -> bool:
    """Whether a class says what to do with its requests, and is more than a base for others."""
    return handler.handle is not Handler.handle or handler.perform is not Handler.perform


def check_does_something(handler: type[Handler[Any]]) -> None:
    """Raise `HandlerError` for a class that says nowhere what to do with its requests."""
    if not does_something(handler):
        raise HandlerError(_does_nothing(handler))


def check_usable(handler: Any) -> None:
    """Raise `HandlerError` for what can be neither registered to nor served: it is no handler class, does nothing, or
    says something about itself that cannot be.
    """
    check_is_handler(handler)
    request_type(handler)
    check_priorities(handler)
    check_failure_rules(handler)
    check_does_something(handler)


def request_type(handler: type[Handler[Any]]) -> Any:
    """The type of a handler's requests. Raises `HandlerError` where nothing says it."""
    kind = _request_types.get(handler)
    if kind is None:
        kind = _request_types[handler] = _find_request_type(handler)
    return kind


def _find_request_type(handler: type[Handler[Any]]) -> Any:
    for method in (handler.handle, handler.perform):
        annotation = _request_annotation(method)
        if annotation is not None and not isinstance(annotation, TypeVar):
            return annotation
    for base in handler.__mro__:
        for generic in getattr(base, "__orig_bases__", ()):
            arguments = get_args(generic)
            origin = get_origin(generic)
            if not (arguments and isinstance(origin, type) and issubclass(origin, Handler)):
                continue
            if not isinstance(arguments[0], TypeVar):
                return arguments[0]
    raise HandlerError(
        f"the request type of {handler_name(handler)} is not known: annotate its method, as in "
        f"`def perform(self, *requests: MyRequest)`, or derive it from Handler[MyRequest]"
    )


def concrete_types(kind: Any) -> frozenset[type] | None:
    """The classes instances of a request type have. None where that cannot be told from the class alone."""
    if kind in (Any, object):
        return None
    if is_typeddict(kind):
        return frozenset((dict,))
    if isinstance(kind, type) and not get_args(kind):
        return frozenset((kind,))
    if get_origin(kind) in (Union, types.UnionType):
        members = [concrete_types(member) for member in get_args(kind)]
        return None if None in members else frozenset().union(*(member for member in members if member))
    return None


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


def find_handler(name: str) -> type[Handler[Any]] | None:
    """The handler class `module/Handler` of a module that is imported already. Never imports anything."""
    module_name, _, qualified = name.rpartition("/")
    module = sys.modules.get(module_name)
    found: Any = module
    for part in qualified.split("."):
        found = vars(found).get(part) if found is not None and hasattr(found, "__dict__") else None
    return found if isinstance(found, type) and issubclass(found, Handler) else None


def handler_classes() -> list[type[Handler[Any]]]:
    """All handler classes that there are in this process."""
    found: dict[type[Handler[Any]], None] = {}
    waiting: list[type[Handler[Any]]] = Handler.__subclasses__()
    while waiting:
        handler = waiting.pop()
        if handler not in found:
            found[handler] = None
            waiting += handler.__subclasses__()
    return list(found)


def importable_names(handlers: Iterable[type[Handler[Any]]]) -> Iterator[str]:
    """Names of those that `find_handler` finds."""
    return (name for handler in handlers if find_handler(name := handler_name(handler)))


def check_importable(handler: type[Handler[Any]]) -> None:
    """Raise `HandlerError` unless another process can find the class by its name."""
    name = handler_name(handler)
    if name.startswith(f"{MAIN_SCRIPT}/"):
        raise HandlerError(
            f"{handler.__qualname__} is defined in the script that was started, which workers cannot import: move it "
            f"to a module of its own, or start the script as a module (python -m package.module)"
        )
    if "<locals>" in handler.__qualname__:
        raise HandlerError(f"{name} is defined inside a function, so workers cannot import it: move it to module level")
    # A class of __main__ goes by the name of a module that need not be imported here.
    if handler.__module__ != MAIN_SCRIPT and find_handler(name) is not handler:
        raise HandlerError(f"{name} is not what module {handler.__module__} has under that name: workers would miss it")


def _does_nothing(handler: type[Handler[Any]]) -> str:
    return f"{handler_name(handler)} overrides neither handle() nor perform(): write the one that does the work"


def _request_annotation(method: Any) -> Any:
    """The annotation of a method's requests, None where it has none that can be resolved."""
    if inspect.unwrap(method) in (Handler.handle, Handler.perform):
        return None
    parameters = list(inspect.signature(method).parameters.values())[1:]
    if not parameters or parameters[0].annotation is inspect.Parameter.empty:
        return None
    try:
        return get_type_hints(method).get(parameters[0].name)
    except NameError:
        return None
