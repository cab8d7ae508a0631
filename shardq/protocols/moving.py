"""What a storage promises that can be moved."""

from __future__ import annotations

from typing import Any, Protocol

from shardq.model import Batch, Chunk, Figures, Stand, TubeLeft, Waiting
from shardq.pages import Page
from shardq.protocols.storage import Storage


class Movable(Protocol):
    """One storage as a move sees it: as its source, or as its target.

    One word of the source says which storage owns its messages. Until `hand_over` it is the source: all of them are
    there, and the target hands out none of those that it has by then. From that step on it is the target, which has all
    of them: it hands them out as soon as it is open. So a move that is cut off anywhere, and made again, loses no
    message and doubles none. Calls may be repeated: done again, they change nothing. [Redis: that word is in partition
    0, and the others follow it. Where a process died between two of them, `stand` has the others follow first.]

    Source

    M1. After `leave` the storage takes nothing and hands out nothing. `append`, `append_when_room`, `claim`, `take`,
        `wait`, `rest`, `promote`, `requeue`, `drop`, `remove`, `unschedule`, `skip`, `pause`, `resume`,
        `wait_for_quiet`, and a `turn` without a batch raise `StorageMoved` with the URL; those that sleep are woken for
        it. What is in hand can be acknowledged, with outputs, failed, given back, buried and released, and a `turn`
        with a batch then hands out nothing. A `rest` with a batch acknowledges it before it raises. Looks are answered
        as ever. `stay` ends that, unless the messages are the target's already. [Redis: where `leave` cuts a call over
        several partitions in two, the error says in `stored` which tubes have their messages: these move with the
        rest.]
    M2. `in_hand` names threads on which there is a claim. Claims of the dead are ended first. Once there is none,
        nothing in the source changes any more, but by the move. [Redis: also threads to which messages are on their way
        from another partition; it brings these on, whatever the bound.]
    M3. `tubes`, `read` and `waiting` give all messages, in the same order each time; those of a tube, and those that
        are due at one time, in the order in which they come. Letters are read as ever. `is_as_it_was` notes what there
        is when it is first called for a move, and is false later where that changed. [Redis: where a replica that lacks
        what came last took the place of its server.]
    M4. After `hand_over` the messages are the target's: `stay` does nothing. `forget` drops them here, and the storage
        goes on to raise `StorageMoved`. Until then `take_back` has it go on as before `leave`.

    Target

    M5. `arrive` raises `MoveRefused` where there is anything in the storage, or another move has to do with it. After
        it the storage has no room, for any other than this move, and hands out nothing, until it is `open`. Then those
        that sleep are woken. `clear` drops what came and opens the storage; from its first step on, `open` raises
        `MoveRefused`.
    M6. `store` stores the messages of a chunk and that they are there, both or neither, whichever process dies when:
        `stored` says which numbers are, of those messages that belong where the chunk does. It returns False, and
        stores nothing, where there is no room. What was known of a tube holds: failures, isolation, and until when its
        thread rests. Messages that wait come at the time given, and those of a schedule go on from there. Where the
        storage has no more what it said to be stored, `store` and `settle` raise `MoveRefused`. [Redis: as above.]
    M7. `settle` takes over the figures, once. Tokens given out later are above those of the source. Handlers may be
        paused while content comes: these pauses stand once it is `open`, and go where the move is not finished.
    """

    @property
    def storage(self) -> Storage: ...

    async def stand(self) -> Stand: ...

    async def leave(self, move: int, to: str) -> None:
        """Raises `MoveRefused` where another move has to do with the storage."""
        ...

    async def stay(self, move: int) -> bool:
        """Undo `leave`. False: the messages are the target's."""
        ...

    async def in_hand(self) -> list[str]: ...

    async def tubes(self, after: Any = None) -> Page[TubeLeft]: ...

    async def read(self, tube: TubeLeft, limit: int, after: int | None = None) -> Batch:
        """Messages from the head, or behind the message of a number."""
        ...

    async def waiting(self, after: Any = None) -> Page[Waiting]: ...

    async def figures(self) -> Figures: ...

    async def message_bytes(self) -> int:
        """How many bytes of messages there are, or somewhat more."""
        ...

    async def is_as_it_was(self, move: int) -> bool: ...

    async def hand_over(self, move: int) -> None: ...

    async def take_back(self, move: int) -> None:
        """Undo `hand_over`, where the target does not have the messages after all, and go on as before."""
        ...

    async def forget(self, move: int) -> None: ...

    async def arrive(self, move: int, come_from: str) -> None:
        """`come_from` says where from, for `stand`."""
        ...

    async def room_bytes(self) -> int | None:
        """How many bytes of messages that share a room fit at most, None where that is not known."""
        ...

    async def room_of(self, pipe: str) -> int:
        """Which room messages of a tube share with others."""
        ...

    async def stored(self, chunk: Chunk) -> int: ...

    async def store(self, move: int, chunk: Chunk) -> bool: ...

    async def settle(self, move: int, number: int, figures: Figures) -> None: ...

    async def open(self, move: int) -> None:
        """Raises `MoveRefused` where the content did not come by this move."""
        ...

    async def clear(self, move: int) -> None:
        """Drop what came by a move that is not to be finished, and open the storage."""
        ...
