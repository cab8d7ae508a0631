"""The class that an application writes: it does the work, in batches, and says where each request belongs.

Each of `create`, `route`, `start`, `handle`, `perform` and `stop` may be `async def` or plain `def`; plain is right for
work that keeps a core busy, and for code that runs a loop of its own: a worker's is not visible to it.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Coroutine, Iterable, Iterator, Sized
from contextvars import ContextVar
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from shardq.blocking import here
from shardq.errors import HandlerError, shown
from shardq.handling.isolation import plainly
from shardq.handling.newcomers import announce
from shardq.handling.route_by import RouteBy
from shardq.model import MAIN_NAMES, MAIN_SCRIPT, Retry, Route, check_progress, handler_name
from shardq.protocols import Emitting, InHand, Registrar
from shardq.text.secret_names import without_secrets

Request = TypeVar("Request")
Item = TypeVar("Item")
if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    Result = TypeVarWithDefault("Result", default=Any)
else:
    Result = TypeVar("Result")

_MAIN_ROUTE = Route()
#: So many characters of a note are kept: more than a line of a terminal shows.
_NOTE_CHARACTERS = 256
#: While a handler's code runs, what it works for: the batch in hand, else True. What it registers must not wait for
#: room that only it could make.
handling: ContextVar[Any] = ContextVar("shardq_handling", default=False)


class Handler(Generic[Request, Result]):
    """Base of all handlers. Override `handle` or `perform`; the request type is read from its annotation, or from
    `Handler[Request]`. Where callers wait for results (`Queue.call`), these are what `handle` returns: a list with one
    for each request of the batch. Their type is read from `Handler[Request, Result]`, or from the annotation of what
    the method returns, `list[Result]`; without one, there is nothing to return, and the result is None.

    A worker that binds to a thread calls `create`, `start`, then `handle` for each batch, and `stop` when it leaves the
    thread. Requests are acknowledged when `handle` returns.

    Class attributes: `route_by`, the key of a request, where no `route` is written, with `threads` and `priority_by`;
    `priorities`, those that requests may be routed to, first served first (None: only 0);
    `starvation_limit`, in how many batches each of them has its turn (None: strictly by priority); `retry`, a `Retry`
    that says what happens to requests that fail; `timeout_s`, most seconds for a batch (None: no limit); `batch_size`,
    most requests in a batch (None: the worker's setting), or a method that returns it; `secret_fields`, names of fields
    that no view shows.
    """

    route_by: ClassVar[Any] = None
    """The key of a request, in place of a written `route`: the name of a field, or a function of one request that
    returns text, bytes or an integer. The request goes to the thread `Route.by(key, threads=threads)`. If a class
    inherits `route` and writes `route_by`, or the other way round, what it writes counts. None: as `route` says."""
    threads: ClassVar[int | None] = None
    """With `route_by`: how many threads the keys are spread over. None: each key is a thread of its own."""
    priority_by: ClassVar[Any] = None
    """With `route_by`: the priority of a request, one of `priorities`. The name of a field, or a function of one
    request that returns an integer. None: 0."""
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
    errors: ClassVar[tuple[type[Exception], ...]] = ()
    """Exceptions that a caller gets as they are where its request fails with one of them: made anew of the same class,
    with the same arguments, which have to be what messages hold. All others arrive as `RequestFailed`."""
    secret_fields: ClassVar[tuple[str, ...]] = ()
    """Names of fields, of requests and all they hold, whose values no view and no dead letter shows: besides those with
    usual names of secrets, as `password` and `token`, and those of pydantic's `SecretStr` and `SecretBytes`. Case and
    separators do not count. Messages and handlers have the values."""
    queue: Registrar
    """The queue this handler is served from, set before `start`. What is registered with it is stored at once; what
    `emit` sends on is stored with the acknowledgement."""
    fencing_token: int
    """The number of the claim on the thread, set before `start`. A later claim on any thread has a higher one. So a
    store outside can refuse what a worker writes after another one has got its thread: it keeps the highest number
    that it has seen for the thread, and refuses lower ones."""

    if not TYPE_CHECKING:

        def __class_getitem__(cls, parameters: Any) -> Any:
            """`Handler[Request]` is `Handler[Request, Any]`."""
            if cls.__parameters__[1:] == (Result,) and not isinstance(parameters, tuple):
                parameters = (parameters, Any)
            return super().__class_getitem__(parameters)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        announce()

    @classmethod
    def create(cls) -> Any:
        """Make the instance that serves a thread. For handlers with dependencies."""
        return cls()

    @classmethod
    def route(cls, *requests: Any) -> Any:
        """One `Route` for each request, in order. Default: what `route_by` says; without it thread 0, priority 0."""
        return [_MAIN_ROUTE] * len(requests) if cls.route_by is None else RouteBy(cls).routes(requests)

    def start(self) -> Any:
        """Called once before the first batch of a binding."""

    def handle(self, *requests: Any) -> Any:
        """Do the work of a batch. Default: `perform`."""
        return self.perform(*requests)

    def perform(self, *requests: Any) -> Any:
        """Do the work of a batch."""
        raise HandlerError(does_nothing(type(self)))

    def stop(self) -> Any:
        """Called once when the worker leaves the thread."""

    if TYPE_CHECKING:
        #: A number, or a method; a type checker lets either take the place of the other only where it may be anything.
        batch_size: Any
    else:

        def batch_size(self) -> int | None:
            """Most requests in one `handle` call. None: the worker's setting. `batch_size = 10` says the same."""
            return None

    async def acknowledge(self, count: int) -> None:
        """Say that the first `count` requests of the batch in hand are done: from now on only the others can come
        again. `count` is from the beginning of the batch each time, not from the last call. For long batches; when
        `handle` returns, all requests are done. What was emitted so far is stored in the same step. Raises `QueueFull`
        where there is no room for that, and acknowledges nothing then; `HandlerError` outside of `handle`, for a count
        that the batch does not have, and in code that does not belong to the batch: in a task or thread of an earlier
        one, and in threads other than those of `asyncio.to_thread`; `FencedError` where the thread is another worker's
        by now.
        """
        if self._in_hand is None:
            raise HandlerError(f"{handler_name(type(self))}.acknowledge() was called, but there is no batch in hand")
        await self._in_hand.acknowledge(count)

    def acknowledge_sync(self, count: int) -> None:
        """`acknowledge` for plain handlers."""
        drive(self.acknowledge(count))

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Say how far the batch in hand has come: `done` of `total`, in any unit, and in words what is going on.
        Operators see it while the batch is in hand (`shardq status`, `Supervisor.progress`); a new batch begins without
        it. Of the note they see the first 64 bytes of UTF-8, without values that have names of secrets.

        It takes about a microsecond and waits for nothing. All code of the handler may call it, in any thread: code of
        an earlier batch, and a process that the handler forked, is not heard. Where no worker runs the handler, as in a
        test, it does nothing. Raises `HandlerError` for other numbers than those from 0 up.
        """
        check_progress(done, total, note)
        in_hand = self._in_hand
        if in_hand is not None:
            in_hand.progress(done, total, without_secrets(note[:_NOTE_CHARACTERS]))

    def track(self, requests: Iterable[Item]) -> Iterator[Item]:
        """These requests, or what else there is to do in the batch, one after the other; as they are taken, it says how
        far that is: `for request in self.track(requests)`.
        """
        total = len(requests) if isinstance(requests, Sized) else None
        done = 0
        for request in requests:
            self.progress(done, total)
            yield request
            done += 1
        self.progress(done, total)

    def emit(
        self, handler: type[Handler[Any]], *requests: Any, defer: Any = None, if_not_exists: bool = False
    ) -> Coroutine[Any, Any, None]:
        """Send requests on to another handler, or to this one: they are stored in the step that acknowledges the batch
        in hand, or the part of it that `acknowledge` names next. If that never comes, they are not stored: of a batch
        that fails, or whose worker dies or loses its thread, nothing is there, and when it comes again, its requests
        are emitted again. So each output is there once for each request that is done. `self.queue.register` stores at
        once.

        `defer` and `if_not_exists` are those of `Queue.register`. A `defer` in seconds counts from the acknowledgement.
        The requests of the batch count as present until they are acknowledged.

        Without room for all outputs the batch is not acknowledged: it is handled again later, in smaller batches, as
        after `QueueFull`. All outputs of a batch have to be one step of the storage (`Storage.limits`; in shared memory
        up to 4,096 requests, 128 tubes and 1 MiB): more raise `TooManyOutputs`, which has the batch taken again in
        smaller parts, and of one request alone `HandlerError`. Raises `HandlerError`, `RequestError` and
        `ScheduleError` for what can never be stored. Also raises `HandlerError` outside of `handle`, after all requests
        of the batch were acknowledged, and in code that does not belong to it: in a task or thread of an earlier batch,
        in threads of this one other than those of `asyncio.to_thread`, and in processes that the handler forks. A batch
        whose handler calls it and never awaits it fails with `HandlerError`.
        """
        if self._outbox is None:
            raise self._without_batch()
        return self._outbox.emit(handler, requests, defer=defer, if_not_exists=if_not_exists)

    def emit_sync(
        self, handler: type[Handler[Any]], *requests: Any, defer: Any = None, if_not_exists: bool = False
    ) -> None:
        """`emit` for plain handlers."""
        if self._outbox is None:
            raise self._without_batch()
        self._outbox.emit_sync(handler, requests, defer=defer, if_not_exists=if_not_exists)

    def _without_batch(self) -> HandlerError:
        return HandlerError(f"{handler_name(type(self))}.emit() was called, but no worker has given it a batch")

    _in_hand: InHand | None = None
    _outbox: Emitting | None = None


async def call(function: Any, *arguments: Any, batch: Any = True) -> Any:
    """Call a method that may be `async def` or plain `def`, as a handler's code that works for this batch, if for one.
    Plain code sees no running loop.
    """
    token = handling.set(batch)
    try:
        result = plainly(function, *arguments)
        return await result if isinstance(result, Awaitable) else result
    finally:
        handling.reset(token)


def drive(awaitable: Awaitable[Any]) -> Any:
    """The result of something that does not suspend. Raises `HandlerError` where it does."""
    steps, former, here.blocking = awaitable.__await__(), here.blocking, True
    try:
        next(steps)
    except StopIteration as end:
        return end.value
    finally:
        here.blocking = former
    getattr(steps, "close", lambda: None)()
    raise HandlerError("this cannot wait where an event loop runs: use the form with `await` there")


def check_is_handler(handler: Any) -> None:
    """Raise `HandlerError` for what is no handler class."""
    if isinstance(handler, FunctionType):
        raise HandlerError(
            f"{handler.__qualname__} is a function and no handler class: `supervisor.map(FUNCTION, items)` is for those"
        )
    if not (isinstance(handler, type) and issubclass(handler, Handler)):
        raise HandlerError(f"{shown(handler)} is no handler class: derive it from shardq.Handler")


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


def is_coming(handler: type[Handler[Any]]) -> bool:
    """Whether the module of the class is being imported right now, and its name does not lead to the class yet."""
    spec = getattr(sys.modules.get(handler.__module__), "__spec__", None)
    importing = getattr(spec, "_initializing", False) and "<locals>" not in handler.__qualname__
    return bool(importing) and find_handler(handler_name(handler)) is None


def importable_names(handlers: Iterable[type[Handler[Any]]]) -> Iterator[str]:
    """Names of those that `find_handler` finds."""
    return (name for handler in handlers if find_handler(name := handler_name(handler)))


def check_importable(handler: type[Handler[Any]]) -> None:
    """Raise `HandlerError` unless another process can find the class by its name."""
    name = handler_name(handler)
    if name.startswith(f"{MAIN_SCRIPT}/"):
        raise HandlerError(
            f"{handler.__qualname__} is defined in the script that was started, which workers cannot import: move it "
            f"to a module of its own, start the script as a module (python -m package.module), or give the class to a "
            f"supervisor without url: Supervisor({handler.__qualname__})"
        )
    if "<locals>" in handler.__qualname__:
        raise HandlerError(f"{name} is defined inside a function, so workers cannot import it: move it to module level")
    # A class of __main__ goes by the name of a module that need not be imported here.
    if handler.__module__ not in MAIN_NAMES and find_handler(name) is not handler:
        raise HandlerError(f"{name} is not what module {handler.__module__} has under that name: workers would miss it")


def does_nothing(handler: type[Any]) -> str:
    """The message of the error for a class that does not say what to do with its requests."""
    return f"{handler_name(handler)} overrides neither handle() nor perform(): write the one that does the work"
