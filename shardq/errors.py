"""Every error shardq raises on purpose, in one tree under `ShardqError`.

'Full' and 'empty' are values at the seams. The errors here are for misuse, damage, or a wait that the caller refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shardq.text.printable import shown as shown


class ShardqError(Exception):
    """Base of all errors of this package.

    Next: catch one of the classes below where the program can do something about it, and this one where it cannot.
    """


class ConfigurationError(ShardqError):
    """A setting, an environment variable, an option or a URL cannot be used as given.

    Why: it does not exist, is out of its bounds, or names something that is not installed.
    Next: change what the message names; `--help` of the command says what there is.
    """


class HandlerError(ShardqError):
    """A handler class cannot be used: not importable, unknown, no request type, or a bad `route()` result.

    Why: workers import a handler by its module and name, and check it before they serve it.
    Next: change the class, or what calls it, as the message says; `shardq status` shows what is served.
    """


class RequestError(ShardqError):
    """A request is not of the handler's type, or cannot be turned into a message.

    Why: requests are stored as MessagePack, and have to arrive as they were sent.
    Next: register a request of the handler's type; nothing of the call was stored.
    """


class ScheduleError(ShardqError):
    """A time or a schedule cannot be used: what `defer` or `recurrent` got, or a stored schedule.

    Why: a time has to have a zone and to be within 100 years; a cron or a rule has to have a next time.
    Next: give seconds, a `timedelta`, an aware `datetime`, a cron text or a rule: `shardq recurrent list` has some.
    """


class DecodeError(ShardqError):
    """A stored message does not decode as the handler's request type.

    Why: another version of the program registered it, or another program wrote it.
    Next: `shardq dead list` shows them: mend the type and `shardq dead requeue` them, or `shardq dead drop` them.
    """


class QueueFull(ShardqError):
    """The storage has no room and the caller chose not to wait (a handler's code never waits for room).

    `not_accepted` holds the requests of the call that were not stored, in their order; the others were.

    Why: workers are slower than producers, or a handler is paused or not served.
    Next: `shardq status` shows what fills it: start workers, give more capacity, register `not_accepted` later.
    """

    def __init__(self, message: str, not_accepted: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.not_accepted: list[Any] = list(not_accepted)


class MessageTooLarge(ShardqError):
    """A message can never fit the storage, however empty it is. A call of several is stored in steps.

    Why: the storage takes at most `queue.storage.limits.message_bytes` bytes of one.
    Next: put the content into a file or a store and its name into the request, or give the storage more capacity.
    """


class TooManyOutputs(QueueFull):
    """A handler emits more for its batch than the storage takes in one step. Its worker takes a smaller batch.

    Why: what a batch emits is stored in one step, with its acknowledgement.
    Next: give a smaller `batch_size`, or `acknowledge(count)` in between; the batch is handled again all the same.
    """


class DirectoryFull(QueueFull):
    """The segment has no entry left for another thread or tube, because all hold work.

    Why: each thread with work needs an entry, 65,536 in a segment of the default size.
    Next: let workers drain threads, use fewer (`Handler.threads`), or make a segment with more capacity.
    """


class StorageClosed(ShardqError):
    """The storage object was closed, for instance because its supervisor was stopped; what is stored stays.

    Why: the program uses a queue after its end, or that of its supervisor.
    Next: `await connect(url)` again, or keep the `with` block open for as long as the queue is used.
    """


class StorageBusy(ShardqError):
    """A signal handler or a finalizer interrupted its own thread inside the storage, and calls it.

    Why: the interrupted call has the storage half-changed, and would never go on if this one waited for it.
    Next: let signal handlers set a flag or ring an event, and register after they returned.
    """


class HandlerTimeout(ShardqError):
    """A handler took longer for a batch than its `timeout_s`.

    Why: the work is larger than thought, or the code hangs.
    Next: `shardq dead show ID` says where it was: mend it, raise `timeout_s`, or make `batch_size` smaller.
    """


class RequestFailed(ShardqError):
    """A request whose caller waits for its result failed for good.

    Why: its handler raised, took too long or took its worker down, as often as `Handler.retry` allows.
    Next: read its note, the traceback in the worker; mend the handler, and make the call again.
    """

    def __init__(
        self, message: str, kind: str = "", traceback: str = "", attempts: int = 1, signal: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        """The exception in a line, or how the worker died."""
        self.type = kind
        """Class of the exception, with its module; empty where none was raised."""
        self.traceback = traceback
        """Of the exception in the worker, as text. It is a note of this exception, too."""
        self.attempts = attempts
        """How often the request failed while it was alone in its batch."""
        self.signal = signal
        """The signal that killed the worker, as `SIGSEGV`."""
        if traceback:
            self.add_note(f"In the worker:\n{traceback.rstrip()}")

    def __reduce__(self) -> tuple[Any, ...]:
        # Without the note, which is made anew.
        return type(self), (self.message, self.type, self.traceback, self.attempts, self.signal)


class ResultTimeout(ShardqError, TimeoutError):
    """A result did not come in time. The request of a call is cancelled, unless it was handed out already; that of a
    ticket stays, and its result may still come.

    Why: workers have other work first, the handler takes longer, or it is paused.
    Next: `shardq why PIPE` says why the request does not run; `shardq stack` where its worker is.
    """


class TicketUnknown(ShardqError):
    """There is no result for a ticket, and none will come.

    Why: it was forgotten, is too old, gave way to later results, or belongs to another storage.
    Next: submit it again; `shardq results` shows what is kept, and `QUEUE_STORAGE_RESULTS` how many are.
    """


class ResultTooLarge(ShardqError):
    """A result can never fit the storage, however empty it is.

    Why: the storage takes at most `queue.storage.limits.message_bytes` bytes of one.
    Next: return the name of a file, or give the storage more capacity.
    """


class NotServed(ShardqError):
    """No living worker has the handler whose result a caller wants to wait for.

    Why: no worker runs, or those that run were not given this handler.
    Next: `python -m shardq.supervise MODULE --url URL` serves it; `shardq status` shows who serves what.
    """


class FencedError(ShardqError):
    """The caller's claim on the thread is over: the token it carries is no longer the current one.

    Why: another worker may have the thread: this one was thought dead, or its lease was over.
    Next: stop working on the batch: another worker handles it, and `shardq status` shows which.
    """


class ClaimLost(FencedError):
    """The claim on the thread was lost while a handler had a batch: its lease was not renewed in time, or was ended.

    Why: it was stopped, blocked its event loop, or did not reach the server, for longer than its lease.
    Next: another worker has the batch. Raise `QUEUE_LOCK_TIMEOUT`, or have a supervisor, which renews for it.
    """


class StorageUnavailable(ShardqError):
    """The server of the storage cannot be reached, or refuses to work for now, for longer than this call waits. Whether
    the call was done is not known.

    Why: the server is down, full or being replaced, or the network is.
    Next: look at the server, then make the call again; with `if_not_exists=True` where it must not be stored twice.
    """


class StorageUnconfirmed(StorageUnavailable):
    """The server did what was asked, and too few copies of it were confirmed while the call waited: see `replicas=` and
    `fsync=` of a URL. What was registered is handled like everything else, and lost if the server is lost before it is
    copied. Registered again it would be handled twice.

    `not_accepted` holds the requests of the call that were not stored at all, in their order; the others were.

    Why: replicas are missing, or the server's disk is slow.
    Next: do not register again what is not in `not_accepted`; look at the replicas of the server.
    """

    def __init__(self, message: str, not_accepted: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.not_accepted: list[Any] = list(not_accepted)


class StorageRefused(ShardqError):
    """The server of the storage does not let this user in, or does not let it do this.

    Why: user, password, certificate or rights are not those that the server wants.
    Next: correct the URL (`QUEUE_SUPERVISOR_URL`), or have the server allow what the message names.
    """


class StorageInUse(ShardqError):
    """A storage on a server cannot be removed: workers have threads of it, or there is something in it.

    Why: it would be lost.
    Next: stop what `shardq status` shows, or say `shardq destroy --with-requests`.
    """


class StorageMoved(ShardqError):
    """What the storage held is in another one, or on its way there. `to` is the URL of the other one, without a
    password.

    `not_accepted` holds the requests of a `register` that were not stored, in their order: all of them, unless the move
    cut the call in two. What was stored of it moves with the rest.

    Why: an operator ran `shardq move`.
    Next: connect to `to`, register `not_accepted` there, and start the supervisor with that `--url`.
    """

    def __init__(self, to: str, stored: Sequence[str] = (), not_accepted: Sequence[Any] = ()) -> None:
        super().__init__(f"this storage moved to {to}: it accepts nothing any more; use that URL from now on")
        self.to = to
        self.stored = tuple(stored)
        """Tubes of an `append` whose messages were stored."""
        self.not_accepted: list[Any] = list(not_accepted)

    def __reduce__(self) -> tuple[type[StorageMoved], tuple[Any, ...]]:
        return type(self), (self.to, self.stored, self.not_accepted)


class MoveRefused(ShardqError):
    """A storage cannot be moved: the target has something in it, the source moves elsewhere, or workers do not let go
    of what they have in hand.

    Why: a move takes all or nothing, and mixes no two storages.
    Next: do what the message says, and give the same `shardq move` again: it goes on where it was.
    """


class StorageDamaged(ShardqError):
    """The server answered what it never should: another program changed the keys of the storage, or it is no server of
    the kind that shardq needs.

    Why: two programs use one prefix, keys were edited by hand, or a server lost a part.
    Next: `shardq check --url URL` says what is wrong; give shardq a prefix or a server of its own.
    """


class SegmentError(ShardqError):
    """A shared-memory segment cannot be used.

    Next: `shardq status --url shm://NAME` shows whether it can be looked into.
    """


class SegmentExists(SegmentError):
    """A segment of this name exists already; attach to it, or destroy it first.

    Why: it was made before by this program or another one, and stays as long as something is in it.
    Next: `connect(url)` or `SharedStorage.attach(name)` uses it; `shardq destroy --url shm://NAME` removes it.
    """


class SegmentMissing(SegmentError):
    """There is no segment of this name, or it was removed while in use.

    Why: no supervisor was started for it, or it ended with nothing left, or the segment is another user's.
    Next: `python -m shardq.supervise MODULE --url shm://NAME` makes it; then connect again.
    """


class SegmentNotReady(SegmentError):
    """The segment is still being created, or its creator died before it was ready.

    Next: try again in a moment; where that does not help, `shardq destroy --url shm://NAME` removes it.
    """


class SegmentVersionError(SegmentError):
    """The segment was written by another layout version of shardq.

    Why: shardq was renewed while it had requests in it.
    Next: drain it with the version that made it (`--drain`), or `shardq destroy` it.
    """


class SegmentForeign(SegmentError):
    """The object of this name is not a shardq segment, or it is damaged.

    Why: another program uses that name in /dev/shm, or wrote into the segment.
    Next: choose another name; or `shardq check` it, save what can be read, and `shardq destroy` it.
    """


class SegmentUntrusted(SegmentError):
    """A file under the segment's name is not this user's alone: another user made it beforehand, or may change it.

    Why: any user may make files in /dev/shm: only one of this user, of mode 0600, is used.
    Next: have the file that the message names removed by its owner or root, or choose another name.
    """


class SegmentUnavailable(SegmentError):
    """The system refuses what a segment needs: descriptors, address space, or a /dev/shm that can be written.

    Why: a limit of the process, the container or the machine is reached.
    Next: raise what the message names (`ulimit -n`, `ulimit -v`, `docker run --shm-size`), and start again.
    """


class SegmentNoRoom(SegmentError):
    """/dev/shm cannot hold the segment's fixed part, or the segment has no entry left for a claim.

    Why: /dev/shm is full or small: a container has 64 MiB of it by default.
    Next: `df -h /dev/shm` shows it: remove what is left there, enlarge it, or give a smaller `--capacity`.
    """


class SegmentBusy(SegmentError):
    """Another process, stopped perhaps, is inside the segment, attaches to it or removes it for longer than this call
    waits; nothing changed.

    Why: it was stopped (^Z, a debugger, a frozen container) in the one moment in which others have to wait for it.
    Next: `kill -CONT PID`, or end it; then make the call again. `shardq status` names it.
    """


class SlotsExhausted(SegmentError):
    """As many processes are attached to the segment as it has slots for, beside those kept for the family.

    Why: programs connected and did not close their queues, or there are more than 256 of them.
    Next: use `async with await connect(url)`, one queue for a process, or a segment with more slots.
    """


class PlatformUnsupported(ShardqError):
    """Shared memory needs Linux with pages of 4 KiB; use another driver here.

    Why: POSIX record locks, /dev/shm and process descriptors are used as Linux has them, and memory is given back by
    pages of that size. Some kernels for aarch64 have larger ones: `getconf PAGESIZE` shows it.
    Next: use `memory://` for one process, or `redis://` for several.
    """


class SupervisorError(ShardqError):
    """A supervisor cannot start or serve.

    Why: its code does not import, it was used before its start or after its end, or no process can be made.
    Next: do what the message says; a supervisor process has its reason on standard error.
    """


class SupervisorRunning(SupervisorError):
    """Another supervisor serves the segment of this name.

    Why: one segment has one supervisor.
    Next: stop it (`shardq status` shows its pid), choose another `--url`, or embed with `if_running="attach"`.
    """
