"""What a storage is given to keep, how much it takes, and what it counts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

from shardq.errors import HandlerError
from shardq.text.wording import counted


class When(NamedTuple):
    """When messages are to come into their tube, if not at once: at an instant, or so long from now. With neither, at
    the first time of the schedule. `shardq.scheduling.schedule.resolved_us` says when that is by a clock.
    """

    due_us: int | None = None
    """Not before this instant, Unix microseconds of the storage's clock."""
    schedule: str = ""
    """By which they come again and again, as `shardq.scheduling.schedule` writes it. Empty: once."""
    after_us: int | None = None
    """Where no instant is given: after so many microseconds by the storage's clock."""


#: Messages for one tube: its pipe, and the messages in their order.
Part = tuple[str, Sequence[bytes]]


class Limits(NamedTuple):
    """How much a storage takes. The first four are those of one step: what one `append` takes, whole or not at all."""

    parts: int
    """Most tubes."""
    messages: int
    """Most messages."""
    nbytes: int
    """Most bytes of all messages, with `part_bytes` for each tube. A single message may have more."""
    part_bytes: int = 0
    """How many bytes a tube takes beside its messages."""
    message_bytes: int = sys.maxsize
    """Most bytes of a single message, at least `nbytes`: a larger one would find no room in the empty storage."""
    key_bytes: int = sys.maxsize
    """Most bytes of the name of a thread, `module/Handler/thread`, in UTF-8."""
    examined: int = sys.maxsize
    """Most messages of a step that asks for equal ones, or comes at a time: each of them is looked at."""

    def of_step(self, *, examined: bool) -> Limits:
        """Those of a step whose messages are each looked at, or not."""
        return self._replace(messages=min(self.messages, self.examined)) if examined else self


def check_parts(parts: Sequence[Part], most: int) -> None:
    """Raise `HandlerError` for parts that are no step: more than `most`, or two of one pipe."""
    if len(parts) > most:
        tubes = counted(len(parts), "tube")
        raise HandlerError(f"{tubes} are too many for one step of {most}: append them in several")
    if len(parts) > 1 and len({pipe for pipe, _ in parts}) < len(parts):
        raise HandlerError("a pipe is in one step twice: put all messages for it into one part")


class Scheduled(NamedTuple):
    """A message that comes again and again."""

    pipe: str
    message: bytes
    schedule: str
    due_us: int
    """When it comes next, Unix microseconds."""


class Counts(NamedTuple):
    """What a storage holds and has seen, in messages, at one instant."""

    accepted: int
    """Requests that ever came into a tube: by `append`, at their time, or by `requeue`."""
    handled: int
    """Those that ever left their tube: acknowledged, removed or buried."""
    buried: int = 0
    """Those that ever became dead letters. They are `handled` too."""
    dead: int = 0
    """Dead letters there are."""
    deferred: int = 0
    """Those that wait for their time. They are not `accepted` before."""
    recurrent: int = 0
    """Those that come again and again."""
    evicted: int = 0
    """Dead letters that were dropped to make room for others."""
    replies: int = 0
    """Messages with results that ever came into the inbox of a caller. They are not `accepted`."""
    replies_taken: int = 0
    """Those of them that ever left it. They are not `handled`."""

    @property
    def queued(self) -> int:
        """Those not yet acknowledged, those in a worker's hands included, and replies that no caller has taken yet."""
        return self.accepted - self.handled + self.replies - self.replies_taken
