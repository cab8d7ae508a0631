"""The words everything else is said in: routes, tubes, pipes and batches of encoded messages."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

#: Module name of what Python was started with.
MAIN_SCRIPT = "__main__"
#: The name under which workers import such a script again, so that its `if __name__ == "__main__"` part does not run.
MAIN_SCRIPT_IN_WORKER = "__shardq_main__"


class Route(NamedTuple):
    """Where a handler's `route()` sends a request."""

    thread: int = 0
    """Requests of one thread are handled one after another. A non-negative integer."""
    priority: int = 0
    """Which of the thread's tubes; `Handler.priorities` says which ones exist, first served first."""


class Tube(NamedTuple):
    """One FIFO sub-queue: a handler class, a thread and a priority."""

    handler: type[Any]
    route: Route

    @property
    def key(self) -> str:
        """Name of the tube's thread, `module/Handler/thread`: what a lock is taken on."""
        return f"{handler_name(self.handler)}/{self.route.thread}"

    @property
    def pipe(self) -> str:
        """Name of the tube, `module/Handler/thread/priority`."""
        return f"{self.key}/{self.route.priority}"


def handler_name(handler: type[Any]) -> str:
    """`module/Handler`: the part of a pipe that says whose requests it carries.

    A class of the module that Python was started with (`python -m app.jobs`) goes by that module's real name.
    """
    module = handler.__module__
    if module == MAIN_SCRIPT:
        main = vars(sys.modules[MAIN_SCRIPT])
        # In some interactive sessions (`python -m asyncio`) the module is the console's, and the class is elsewhere.
        own = main.get(handler.__qualname__.partition(".")[0]) is not None
        module = main["__spec__"].name if own and main.get("__spec__") else module
    if module == MAIN_SCRIPT_IN_WORKER:
        module = MAIN_SCRIPT
    return f"{module}/{handler.__qualname__}"


def key_of(pipe: str) -> str:
    """The thread (lock key) a pipe belongs to."""
    return pipe.rpartition("/")[0]


def split_key(key: str) -> tuple[str, str]:
    """`module/Handler/thread` as (`module/Handler`, `thread`)."""
    name, _, thread = key.rpartition("/")
    return name, thread


@dataclass(slots=True)
class Batch:
    """Messages of one tube, in order, still in the concatenation they were stored in.

    Nothing is sliced until somebody asks: a codec decodes `payload` as a whole.
    """

    sequence: int
    """Sequence number of the first message. Counted per tube, never reused."""
    through: int
    """One past the sequence number of the last message: what `Storage.pop` takes to acknowledge all of it."""
    ends: Sequence[int]
    """For each message, where it ends in `payload`, in bytes, counted from `base`."""
    payload: bytes
    """The messages, back to back."""
    base: int = 0
    """What `ends` are counted from: ends that stand in storage are used as they are."""

    @property
    def count(self) -> int:
        return len(self.ends)

    @property
    def messages(self) -> list[bytes]:
        """The messages one by one."""
        ends = [end - self.base for end in self.ends]
        return [self.payload[start:end] for start, end in zip([0, *ends], ends, strict=False)]


EMPTY = Batch(0, 0, (), b"")
