"""The extension, as it is there where it could be compiled."""

from array import array
from collections.abc import Callable, Mapping, Sequence
from mmap import mmap
from typing import Any, Literal

from shardq.model import AllTerms, Batch, Failed, Hand, Limits
from shardq.outputs import Output

#: What a turn led to: the hand; whether that is all, or the batch is acknowledged and Python goes on with this hand;
#: and whether this process lies down.
Turn = tuple[Hand | None, bool, bool]
#: The same where there is more to do: the slots that Python has to ring, and whether Python has to pass a call on.
TurnWithCalls = tuple[Hand | None, bool, bool, tuple[int, ...], bool]

#: Of the numbers that it was compiled from: see `header.digest`.
WORDS_DIGEST: int

def one_step(
    kind: type, places: Any, messages: Any, pipes: Mapping[Any, str], limits: Limits, /
) -> list[tuple[str, list[bytes]]] | None:
    """See `shardq.handling.plain`. Places are integers, or tuples of two."""

class Core:
    """A process's part of one segment. All methods come back at once, and change nothing where they return None."""

    def __init__(
        self,
        *,
        mapping: mmap,
        layout: Any,
        token: str,
        segment_file: int,
        lock_file: int,
        slot: int,
        identity: int,
        guard: Any,
        threads: Any,
        blocks: list[int],
        waiting: Any,
        watch: Any,
        reserve_least: int,
        reserve_half: int,
        piece_bytes: int,
        surely_fits: int,
        growth_class: int,
        hand: type[Hand],
        batch: type[Batch],
        ends: type[array[int]],
        empty: Batch,
        failed: Callable[[int, int, int, int], Failed],
    ) -> None: ...
    def append(
        self, parts: Sequence[tuple[str, Sequence[bytes]]], share: int, /
    ) -> tuple[int, ...] | Literal[False] | None:
        """Add messages to tubes that are known, all or none. Returns the slots that Python has to ring. False: it did,
        and the next process that enters the guard has something to mend. None: it is not the frequent case.
        """

    def turn(
        self,
        hand: Hand | None,
        names: frozenset[str] | None,
        terms: AllTerms,
        stays: bool,
        outputs: Sequence[Output],
        /,
    ) -> Turn | TurnWithCalls | None:
        """See `Delivering.turn`. None: it is not the frequent case."""

    def rest(
        self,
        hand: Hand | None,
        names: frozenset[str] | None,
        terms: AllTerms,
        stays: bool,
        was_asleep: bool,
        may_sleep: bool,
        /,
    ) -> Turn | TurnWithCalls | None:
        """See `Delivering.rest`. None: it is not the frequent case."""

    def learn_thread(self, thread: int, generation: int, key: str, handler: str, /) -> None:
        """The thread has this key as long as it has this generation."""

    def learn_served(self, names: frozenset[str] | None, bits: bytes, /) -> None:
        """The numbers of the handlers that are looked for from now on, one bit for each."""

    def learn(self, pipe: str, thread: int, generation: int, tube: int, /) -> None:
        """The pipe has this tube as long as its thread has that generation."""

    def learn_death(self, owner: int, /) -> None:
        """The process behind this owner word has ended, and its parent has been told."""

    def rang(self, slot: int, descriptor: int, /) -> None:
        """The process of a slot that was to be rung was rung, by this descriptor: from now on by the core itself."""

    def forget_bell(self, slot: int, /) -> None:
        """Its descriptor is about to be closed."""

    def close(self) -> None:
        """Let go of the mapping: from now on nothing is the frequent case."""
