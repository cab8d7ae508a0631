"""A supervisor inside an application: `async with Supervisor("app.jobs", workers=4) as supervisor`.

The application is never forked. It executes a clean process (`shardq.supervise`), which imports the handlers and forks
the workers. Through a socket between the two the supervisor says when it serves, and notices when the application ends.
A thread of the application watches the supervisor, see `shardq.serving.keeper`:

    application                                 supervisor process                      workers
    Supervisor, its queue, keeper  --socket-->  selectors loop  --fork, pidfd-->        uvloop, handlers
           \\_______________________________ shared memory _______________________________/
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from shardq.connect import is_redis, open_storage, segment_name, without_secrets
from shardq.drivers.shared.attaching import attached
from shardq.drivers.shared.segments import PRIVATE_PREFIX
from shardq.drivers.shared.storage import Overview, SharedStorage
from shardq.drivers.shared.supervised import SupervisedSegment
from shardq.errors import ConfigurationError, SegmentBusy, SegmentError, SupervisorError, shown
from shardq.functions.apply import Apply
from shardq.functions.maps import Maps
from shardq.handler import Handler
from shardq.model import AtWork
from shardq.queue import Queue
from shardq.results.serving import without_worker
from shardq.serving.keeper import Keeper
from shardq.serving.targets import argument_of
from shardq.settings import SupervisorSettings, check_capacity, check_kind, check_timeout
from shardq.supervisor.code import handlers, launch, script
from shardq.supervisor.workers.endings import workers_ended

if TYPE_CHECKING:
    from shardq.drivers.redis.overview import Overview as ServerOverview

log = logging.getLogger("shardq.embedded")

#: After how many seconds, each time, a drain looks for what it may wait for in vain.
_HINT_S = 10.0
_STARTED_BY_IMPORT = (
    "this script starts a Supervisor while a supervisor imports it: put that part of the script under "
    '`if __name__ == "__main__":`'
)


class Supervisor(Maps):
    """Workers for handlers, as long as the application wants them: `async with Supervisor(...)`, or `with` where no
    event loop runs.

    `targets`: modules (`"app.jobs"`), single handlers (`"app.jobs:Resize"`) or handler classes. Without any, workers
    serve `map` alone, which all of them serve. `workers`: how many processes, by default one per usable core. `url`:
    `shm://NAME` for a segment with a name. Other processes can connect to it, and it stays while there is something in
    it. Without `url`, and without QUEUE_SUPERVISOR_URL in the environment, the segment is private and ends with this
    object. `redis://HOST:PORT` (see `connect`) serves a storage on a server, as other supervisors on any host may do at
    the same time. `capacity_bytes` bounds a segment created here. `init`: the name of a function, `"MODULE:FUNCTION"`,
    that each worker calls before it serves, to set up exporters of traces, for instance. `if_running` says what to do
    if another supervisor serves the name: "error", or "attach", for several web workers that embed the same: use the
    segment it serves, and take its place when it ends.

    It belongs to the process that started it, and to none of its event loops: it can be started in one and stopped in
    another. A child that this process forks can use the queue, and cannot end the family.
    """

    def __init__(
        self,
        *targets: str | type[Handler[Any]],
        workers: int | None = None,
        url: str | None = None,
        capacity_bytes: int | None = None,
        if_running: Literal["error", "attach"] = "error",
        settings: SupervisorSettings | None = None,
        init: str | None = None,
    ) -> None:
        if script.importing:
            raise SupervisorError(_STARTED_BY_IMPORT)
        if if_running not in ("error", "attach"):
            raise ConfigurationError(f"if_running is {shown(if_running)}: use 'error' or 'attach'")
        check_kind(settings, SupervisorSettings)
        # Where the number is given, what the environment says about it does not count, be it usable or not.
        given: dict[str, Any] = {} if workers is None else {"workers": workers}
        self.settings = settings.model_copy() if settings else SupervisorSettings(**given)
        if workers is not None:
            self.settings.workers = workers
        if init is not None:
            self.settings.init = init
        given_url = url or self.settings.url
        self._private = not given_url
        self.url = given_url or f"shm://{PRIVATE_PREFIX}{os.getpid()}-{os.urandom(4).hex()}"
        self._on_server = is_redis(self.url)
        if not self._on_server:
            segment_name(self.url)
        self._targets = [argument_of(target, private=self._private) for target in targets or (Apply,)]
        self._needs_main = any(target.startswith("__main__:") for target in self._targets)
        if capacity_bytes is not None:
            check_capacity(capacity_bytes)
        self._capacity_bytes = capacity_bytes
        self._if_running = if_running
        self._functions_key = os.environ.get(launch.FUNCTIONS_KEY) or os.urandom(16).hex()
        self._keeper: Keeper | None = None
        self._owner = 0
        """Pid of the process that started it."""
        self._queue: Queue | None = None
        self._wanted: int | None = None
        """How many workers `scale` asked for last."""

    @property
    def queue(self) -> Queue:
        """The queue the workers serve. Raises `SupervisorError` before `start` and after `stop`."""
        if self._queue is None:
            raise SupervisorError("the supervisor is not started: use `async with Supervisor(...)`, or await start()")
        return self._queue

    @property
    def functions_key(self) -> str:
        """See `Maps`."""
        shares = self._on_server or self._if_running == "attach"
        if shares and self._functions_key != os.environ.get(launch.FUNCTIONS_KEY):
            raise ConfigurationError(
                f"workers of other families may get the items of this map, and call only functions of applications "
                f"that have their key: set {launch.FUNCTIONS_KEY} to the same secret text for all programs that share "
                f"{without_secrets(self.url)}"
            )
        return self._functions_key

    async def start(self) -> None:
        """Start the supervisor process and wait until it serves.

        Raises `SupervisorRunning`, and `SupervisorError` with the reason where it cannot boot.
        """
        if handlers.importing:
            raise SupervisorError(_STARTED_BY_IMPORT)
        launch.check_not_started_by_itself()
        if self._keeper is not None:
            self._check_own()
            raise SupervisorError("the supervisor is started already: stop it first, or make another one")
        environment = {launch.FUNCTIONS_KEY: self._functions_key, **launch.own_argv()}
        if self._on_server:
            environment[launch.SERVER_URL] = self.url
        keeper = Keeper(
            without_secrets(self.url),
            self._arguments,
            self._wanted,
            lambda: self.settings.shutdown_timeout,
            environment,
        )
        self._keeper, self._owner = keeper, os.getpid()
        try:
            await asyncio.wrap_future(keeper.start())
            storage = await open_storage(self.url)
        except BaseException:
            await self._end_family(keeper)
            raise
        storage.importable_only = not self._needs_main
        self._queue = Queue(storage)

    async def stop(self) -> None:
        """Finish the batches in hand and end all processes. Stopping twice is fine. In a child that the application
        forked it ends only the child's own use of the queue. A task that is cancelled meanwhile still waits until all
        processes have ended, and is cancelled then.
        """
        keeper = self._keeper
        try:
            # First, because a supervisor that ends removes the segment only if no other process is attached to it.
            await self._close_queue()
        finally:
            if keeper and self._owner == os.getpid():
                await self._end_family(keeper)
            self._keeper = None

    async def drain(self, timeout_s: float | None = None, *, deferred: bool = False) -> bool:
        """Wait until, at one instant, no request is queued or in hand, and with `deferred` none waits for its time
        either. Recurrent requests do not count. Returns False if it was not so within `timeout_s` seconds; None: wait
        without end. Every ten seconds this looks which handlers of those that have requests no worker serves, or are
        paused, and the log says so where it did not before. Raises `ConfigurationError` for other timeouts.
        """
        check_timeout(timeout_s)
        storage, told = self.queue.storage, set[str]()
        end = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, end - time.monotonic())
            if await storage.wait_for_quiet(min(left_s, _HINT_S), deferred=deferred):
                return True
            if left_s <= _HINT_S:
                return False
            names = await without_worker(storage)
            if not told.issuperset(names):
                log.warning("drain waits for %s, which no worker serves or which is paused", ", ".join(names))
                told.update(names)

    def drain_sync(self, timeout_s: float | None = None, *, deferred: bool = False) -> bool:
        """`drain` for code without an event loop. Raises `SupervisorError` where one runs."""
        if asyncio._get_running_loop() is not None:
            raise SupervisorError("an event loop runs here: write `await supervisor.drain()`")
        return asyncio.run(self.drain(timeout_s, deferred=deferred))

    def stats(self) -> Overview | ServerOverview:
        """Figures of the storage and its workers: of a segment read without disturbing them, of a storage on a server
        asked for there, for which this blocks. Those of a server count the workers of all families.
        """
        storage = self.queue.storage
        if isinstance(storage, SharedStorage):
            return storage.overview()
        from shardq.drivers.redis.overview import stats_of

        return stats_of(storage)

    def progress(self) -> list[AtWork]:
        """What each worker is at, and how far it is as its handler says (`Handler.progress`): read from the segment
        without disturbing them. A storage on a server is asked for it, for which this blocks; it says it of the workers
        of all families, and of their handlers what they said a second ago.
        """
        storage = self.queue.storage
        if isinstance(storage, SharedStorage):
            return storage.workers()
        from shardq.drivers.redis.overview import stats_of

        return stats_of(storage).at_work

    def scale(self, workers: int) -> None:
        """Have so many workers from now on. Workers that are too many finish the batch in hand first. While this
        supervisor stands by for another (`if_running="attach"`), the number counts from when it takes over.
        """
        if type(workers) is not int or workers < 0:
            raise ConfigurationError(f"workers={shown(workers)} cannot be: give 0 or more")
        if self._keeper is None:
            raise SupervisorError("the supervisor is not started: use `async with Supervisor(...)`, or await start()")
        self._check_own()
        self.settings.workers = max(1, workers)
        self._wanted = workers
        self._keeper.scale(workers)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def __enter__(self) -> Self:
        if asyncio._get_running_loop() is not None:
            raise SupervisorError("an event loop runs here: write `async with Supervisor(...)`, or await start()")
        asyncio.run(self.start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run(self.stop())

    def _check_own(self) -> None:
        if self._owner != os.getpid():
            raise SupervisorError(
                f"this supervisor was started by process {self._owner}, which this one was forked from: "
                f"start another one here, or leave it to that process"
            )

    def _arguments(self) -> list[str]:
        # The URL of a server may have a password, which a list of processes would show.
        arguments = [*self._targets, *([] if self._on_server else ["--url", self.url])]
        arguments += ["--log-level", self._log_level]
        arguments += self.settings.options(skip=("url", "capacity", "drain", "log_level"))
        capacity = self.settings.capacity_bytes if self._capacity_bytes is None else self._capacity_bytes
        arguments += [] if capacity is None else ["--capacity", str(capacity)]
        arguments += ["--private"] if self._private else []
        arguments += ["--standby"] if self._if_running == "attach" else []
        arguments += ["--main", sys.modules["__main__"].__file__ or ""] if self._needs_main else []
        return arguments

    @property
    def _log_level(self) -> str:
        """By default an application gets warnings and errors of its family; more only if it set a level."""
        return self.settings.log_level if "log_level" in self.settings.model_fields_set else "warning"

    async def _close_queue(self) -> None:
        queue, self._queue = self._queue, None
        if queue:
            await queue.close()

    async def _end_family(self, keeper: Keeper) -> None:
        try:
            await _outlasting(keeper.stop())
        finally:
            self._keeper = None
            if self._private:
                await self._clear_away()

    async def _clear_away(self) -> None:
        """Remove a private segment whose supervisor died before it could do so, once its workers are gone."""
        try:
            storage = await attached(segment_name(self.url))
        except SegmentError:
            return  # as a rule the supervisor has removed it
        try:
            await workers_ended(SupervisedSegment(storage).strangers, self.settings.shutdown_timeout)
        finally:
            with suppress(SegmentBusy):  # another application that embeds a supervisor removes it later
                storage.destroy()


async def _outlasting(future: Future[None]) -> None:
    """Wait for the future to the end. If the caller is cancelled meanwhile, it is cancelled afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait((asyncio.wrap_future(future),))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled:
        raise cancelled
    future.result()
