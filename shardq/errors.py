"""Every error shardq raises on purpose, in one tree under `ShardqError`.

'Full' and 'empty' are values at the seams. The errors here are for misuse, damage, or a wait that the caller refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shardq.text.printable import shown as shown


class ShardqError(Exception):
    """Base of all errors of this package."""


class ConfigurationError(ShardqError):
    """A setting, an environment variable, an option or a URL cannot be used as given."""


class HandlerError(ShardqError):
    """A handler class cannot be used: not importable, unknown, no request type, or a bad `route()` result."""


class RequestError(ShardqError):
    """A request is not of the handler's type, or cannot be turned into a message."""


class ScheduleError(ShardqError):
    """A time or a schedule cannot be used: what `defer` or `recurrent` got, or a stored schedule."""


class DecodeError(ShardqError):
    """A stored message does not decode as the handler's request type."""


class QueueFull(ShardqError):
    """The storage has no room and the caller chose not to wait (a handler's code never waits for room).

    `not_accepted` holds the requests of the call that were not stored, in their order; the others were.
    """

    def __init__(self, message: str, not_accepted: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.not_accepted: list[Any] = list(not_accepted)


class MessageTooLarge(ShardqError):
    """A message can never fit the storage, however empty it is. A call of several is stored in steps."""


class TooManyOutputs(QueueFull):
    """A handler emits more for its batch than the storage takes in one step. Its worker takes a smaller batch."""


class DirectoryFull(QueueFull):
    """The segment has no entry left for another thread or tube, because all hold work."""


class StorageClosed(ShardqError):
    """The storage object was closed, for instance because its supervisor was stopped; what is stored stays."""


class StorageBusy(ShardqError):
    """A signal handler or a finalizer interrupted its own thread inside the storage, and calls it."""


class HandlerTimeout(ShardqError):
    """A handler took longer for a batch than its `timeout_s`."""


class RequestFailed(ShardqError):
    """A request whose caller waits for its result failed for good."""

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
    """


class TicketUnknown(ShardqError):
    """There is no result for a ticket, and none will come."""


class ResultTooLarge(ShardqError):
    """A result can never fit the storage, however empty it is."""


class NotServed(ShardqError):
    """No living worker has the handler whose result a caller wants to wait for."""


class FencedError(ShardqError):
    """The caller's claim on the thread is over: the token it carries is no longer the current one."""


class ClaimLost(FencedError):
    """The claim on the thread was lost while a handler had a batch: its lease was not renewed in time, or was ended."""


class StorageUnavailable(ShardqError):
    """The server of the storage cannot be reached, or refuses to work for now, for longer than this call waits. Whether
    the call was done is not known.
    """


class StorageUnconfirmed(StorageUnavailable):
    """The server did what was asked, and too few copies of it were confirmed while the call waited: see `replicas=` and
    `fsync=` of a URL. What was registered is handled like everything else, and lost if the server is lost before it is
    copied. Registered again it would be handled twice.

    `not_accepted` holds the requests of the call that were not stored at all, in their order; the others were.
    """

    def __init__(self, message: str, not_accepted: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.not_accepted: list[Any] = list(not_accepted)


class StorageRefused(ShardqError):
    """The server of the storage does not let this user in, or does not let it do this."""


class StorageInUse(ShardqError):
    """A storage on a server cannot be removed: workers have threads of it, or there is something in it."""


class StorageMoved(ShardqError):
    """What the storage held is in another one, or on its way there. `to` is the URL of the other one, without a
    password.

    `not_accepted` holds the requests of a `register` that were not stored, in their order: all of them, unless the move
    cut the call in two. What was stored of it moves with the rest.
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
    """


class StorageDamaged(ShardqError):
    """The server answered what it never should: another program changed the keys of the storage, or it is no server of
    the kind that shardq needs.
    """


class SegmentError(ShardqError):
    """A shared-memory segment cannot be used."""


class SegmentExists(SegmentError):
    """A segment of this name exists already; attach to it, or destroy it first."""


class SegmentMissing(SegmentError):
    """There is no segment of this name, or it was removed while in use."""


class SegmentNotReady(SegmentError):
    """The segment is still being created, or its creator died before it was ready."""


class SegmentVersionError(SegmentError):
    """The segment was written by another layout version of shardq."""


class SegmentForeign(SegmentError):
    """The object of this name is not a shardq segment, or it is damaged."""


class SegmentUntrusted(SegmentError):
    """A file under the segment's name is not this user's alone: another user made it beforehand, or may change it."""


class SegmentUnavailable(SegmentError):
    """The system refuses what a segment needs: descriptors, address space, or a /dev/shm that can be written."""


class SegmentNoRoom(SegmentError):
    """/dev/shm cannot hold the segment's fixed part, or the segment has no entry left for a claim."""


class SegmentBusy(SegmentError):
    """Another process, stopped perhaps, is inside the segment, attaches to it or removes it for longer than this call
    waits; nothing changed.
    """


class SlotsExhausted(SegmentError):
    """As many processes are attached to the segment as it has slots for, beside those kept for the family."""


class PlatformUnsupported(ShardqError):
    """Shared memory needs Linux; use the in-memory driver here."""


class SupervisorError(ShardqError):
    """A supervisor cannot start or serve."""


class SupervisorRunning(SupervisorError):
    """Another supervisor serves the segment of this name."""
