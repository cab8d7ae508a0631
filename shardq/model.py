"""The terms of all other modules: routes, tubes, pipes and batches of encoded messages."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from signal import Signals
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from shardq.errors import ConfigurationError, HandlerError, shown
from shardq.lazy import Lazy
from shardq.settings import LONGEST_S
from shardq.text.wording import counted

if TYPE_CHECKING:
    import hashlib
else:
    hashlib = Lazy("hashlib")

#: Module name of what Python was started with.
MAIN_SCRIPT = "__main__"
#: The name under which workers import such a script again, so that its `if __name__ == "__main__"` part does not run.
MAIN_SCRIPT_IN_WORKER = "__shardq_main__"
#: All its names: the last is the one that it has in children of `multiprocessing`.
MAIN_NAMES = (MAIN_SCRIPT, MAIN_SCRIPT_IN_WORKER, "__mp_main__")


class Route(NamedTuple):
    """Where a handler's `route()` sends a request."""

    thread: int = 0
    """Requests of one thread are handled one after another. A non-negative integer."""
    priority: int = 0
    """Which of the thread's tubes; `Handler.priorities` says which ones exist, first served first."""

    @classmethod
    def by(cls, key: str | bytes | int, priority: int = 0, *, threads: int | None = None) -> Route:
        """The route of all requests with this key: the same thread in every process and with every version of Python.

        An integer from 0 to 2**63 - 1 is a thread by itself. Of any other key, and of each where `threads` is given, it
        is the first 8 bytes of the key's BLAKE2b (`hashlib.blake2b(key, digest_size=8)`), big-endian, without the
        highest bit; text counts as its UTF-8, an integer as its shortest big-endian bytes with a sign. `threads`: fold
        onto so many threads, as the remainder. Keys that come to the same thread share it, which costs them nothing
        but being handled side by side. Raises `HandlerError` for other keys. About a microsecond.
        """
        if threads is not None and (type(threads) is not int or threads < 1):
            raise HandlerError(f"Route.by(threads={shown(threads)}) cannot be: give a number of threads from 1 up")
        return cls(thread_of(key, threads), priority)


def thread_of(key: Any, threads: int | None) -> int:
    """The thread of a key, as `Route.by` says."""
    if threads is None and isinstance(key, int) and 0 <= key < 1 << 63:
        return int(key)
    number = int.from_bytes(hashlib.blake2b(_key_bytes(key), digest_size=8).digest(), "big") & (1 << 63) - 1
    return number if threads is None else number % threads


def _key_bytes(key: Any) -> bytes:
    if isinstance(key, str):
        return key.encode("utf-8", "surrogatepass")
    if isinstance(key, bytes | bytearray | memoryview):
        return bytes(key)
    if isinstance(key, int):
        return key.to_bytes(key.bit_length() // 8 + 1, "big", signed=True)
    raise HandlerError(
        f"Route.by({shown(key)}) cannot be: give text, bytes or an integer, as in Route.by(f'{{account}}/{{day}}')"
    )


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


@dataclass(frozen=True)
class Retry:
    """What happens to a handler's request that fails: raises, runs too long, or takes its worker down.

    Only failures of a request that stands alone count. A batch of several that failed is taken again in smaller ones,
    until the culprit stands alone. Raises `ConfigurationError` for values that make no sense.
    """

    max_attempts: int = 5
    """After so many it becomes a dead letter."""
    backoff_s: float = 1.0
    """Seconds before the second attempt, doubled for each further one. The first retry after a death waits for none."""
    backoff_max_s: float = 300.0
    """Longest such wait."""
    jitter: bool = True
    """Shorten each wait by up to a half, differently for each request, so that many do not come at once."""
    on_failure: Literal["block", "skip"] = "block"
    """`block` keeps the thread waiting until the attempts are spent, so that its order holds. `skip` makes the request
    a dead letter at its first failure and goes on with the thread."""

    @property
    def _waits_s(self) -> tuple[float, float]:
        return self.backoff_s, self.backoff_max_s

    def __post_init__(self) -> None:
        numbers = type(self.max_attempts) is int and all(type(s) in (int, float) for s in self._waits_s)
        if not numbers or self.max_attempts < 1 or not all(0 <= wait_s <= LONGEST_S for wait_s in self._waits_s):
            raise ConfigurationError(
                f"{shown(self)} cannot be: it needs one attempt or more, and waits of 0 s to 10 years"
            )
        if not isinstance(self.jitter, bool):
            raise ConfigurationError(f"Retry(jitter={shown(self.jitter)}) cannot be: use True or False")
        if self.on_failure not in ("block", "skip"):
            raise ConfigurationError(f"Retry(on_failure={shown(self.on_failure)}) cannot be: use 'block' or 'skip'")


def handler_name(handler: type[Any]) -> str:
    """`module/Handler`: the part of a pipe that says whose requests it carries.

    A class of the module that Python was started with (`python -m app.jobs`) goes by that module's real name, also in
    a child of `multiprocessing`, which imported it once more.
    """
    module = handler.__module__
    if module in MAIN_NAMES:
        main = vars(sys.modules[MAIN_SCRIPT])
        # In some interactive sessions (`python -m asyncio`) the module is the console's, and the class is elsewhere.
        own = main.get(handler.__qualname__.partition(".")[0]) is not None
        module = main["__spec__"].name if own and main.get("__spec__") else MAIN_SCRIPT
    return f"{module}/{handler.__qualname__}"


def key_of(pipe: str) -> str:
    """The thread (lock key) a pipe belongs to."""
    return pipe.rpartition("/")[0]


def split_key(key: str) -> tuple[str, str]:
    """`module/Handler/thread` as (`module/Handler`, `thread`)."""
    name, _, thread = key.rpartition("/")
    return name, thread


def priority_of(pipe: str) -> int:
    """The priority of a pipe. Raises `HandlerError` for what is no pipe."""
    try:
        return int(pipe.rpartition("/")[2])
    except ValueError:
        raise HandlerError(f"{shown(pipe)} is no pipe: it must end with /thread/priority") from None


def dead_pipe(name: str) -> str:
    """The pipe of a handler's dead letters, given `module/Handler`."""
    return f"{name}/dead/0"


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
    """Those that ever came into a tube: by `append`, at their time, or by `requeue`."""
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

    @property
    def queued(self) -> int:
        """Those not yet acknowledged, those in a worker's hands included."""
        return self.accepted - self.handled


class Ending(NamedTuple):
    """How a worker process ended that had a batch in hand. Neither signal nor exit code: no supervisor saw its end."""

    signal: int | None = None
    exit_code: int | None = None
    timed_out: bool = False
    """Whether its supervisor killed it because the batch took longer than `Handler.timeout_s`."""


def signal_name(number: int) -> str:
    """`SIGKILL`, or `signal 40`: most real-time signals have no name of their own."""
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"


class Failed(NamedTuple):
    """What happened to the message at the head of a batch before, while it stood alone."""

    attempts: int
    """How often it failed."""
    first_us: int
    """When for the first time, Unix microseconds of the storage's clock."""
    last_us: int
    """When for the last time."""
    ending: Ending | None
    """How its worker ended the last time; None where the worker lived on."""


#: Where no message failed alone.
NOT_ALONE = Failed(0, 0, 0, None)


@dataclass(slots=True)
class Batch:
    """Messages of one tube, in order, still in the concatenation they were stored in.

    Nothing is sliced until `messages` is called: a codec decodes `payload` as a whole.
    """

    sequence: int
    """Sequence number of the first message. Counted per tube, never reused."""
    through: int
    """One past the sequence number of the last message."""
    ends: Sequence[int]
    """For each message, where it ends in `payload`, in bytes, counted from `base`."""
    payload: bytes
    """The messages, back to back."""
    base: int = 0
    """What `ends` are counted from: ends that stand in storage are used as they are."""
    sequences: Sequence[int] | None = None
    """Sequence number of each message, where some between them were removed. None: they follow one another."""
    pipe: str = ""
    """Where it was taken from."""
    front: bool = False
    """Whether it was in front of that tube. For the storage alone: it tells where to acknowledge."""
    failed: Failed | None = None
    """Earlier failures of its only message."""
    taken_us: int = 0
    """When it was handed out, Unix microseconds of the storage's clock."""

    @property
    def count(self) -> int:
        return len(self.ends)

    @property
    def numbers(self) -> Sequence[int]:
        """Sequence number of each message."""
        return range(self.sequence, self.through) if self.sequences is None else self.sequences

    @property
    def messages(self) -> list[bytes]:
        """The messages one by one."""
        ends = [end - self.base for end in self.ends]
        return [self.payload[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def through_first(self, count: int) -> int:
        """One past the sequence number of the last of the first `count` messages."""
        if not count:
            return self.sequence
        return self.sequence + count if self.sequences is None else self.sequences[count - 1] + 1

    def first(self, count: int) -> Batch:
        """The first `count` messages, at least one."""
        ends = self.ends[:count]
        sequences = None if self.sequences is None else self.sequences[:count]
        payload = self.payload[: ends[-1] - self.base]
        through = self.through_first(count)
        return replace(self, through=through, ends=ends, payload=payload, sequences=sequences)

    def followed_by(self, other: Batch) -> Batch:
        """These messages, and those of another batch behind them."""
        if not self.count or not other.count:
            return self if self.count else other
        shift = len(self.payload) - other.base
        ends = [*(end - self.base for end in self.ends), *(end + shift for end in other.ends)]
        numbers = [*self.numbers, *other.numbers]
        return Batch(self.sequence, other.through, ends, self.payload + other.payload, sequences=numbers)


EMPTY = Batch(0, 0, (), b"")


class Terms(NamedTuple):
    """How a worker takes batches from the threads of a handler."""

    priorities: tuple[int, ...]
    """In the order in which their tubes are looked into."""
    limit: int
    """Most messages of a batch."""
    timeout_s: float | None = None
    """How long the worker has for one: its supervisor may end it after that, where it cannot stop by itself."""
    starvation_limit: int | None = None
    """See `in_turn`."""


class Hand(NamedTuple):
    """A thread that a worker is bound to, and the batch of it that the worker has in hand."""

    key: str
    token: int
    """The fencing token of the claim."""
    batch: Batch

    def leads_on_from(self, former: Hand | None) -> bool:
        """Whether there is work in it that the hand before it did not have: another claim, or more messages."""
        return self.batch.count > 0 or former is None or former.token != self.token


def in_turn(priorities: tuple[int, ...], turn: int, starvation_limit: int | None) -> tuple[int, ...]:
    """The order in which a thread's priorities are looked into for its batch number `turn`.

    As they are given, but for every n-th time: then another priority comes first, each in turn, with n such that each
    is first once in `starvation_limit` batches. None: always as given.
    """
    if starvation_limit is None or len(priorities) < 2:
        return priorities
    every = max(1, starvation_limit // len(priorities))
    if (turn + 1) % every:
        return priorities
    first = turn // every % len(priorities)
    return priorities[first:] + priorities[:first]
