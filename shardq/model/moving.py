"""What a move carries from one storage into another."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, IntEnum
from typing import NamedTuple

from shardq.model.batches import Failed


class Standing(IntEnum):
    """What a storage takes and hands out, as far as a move is concerned."""

    OPEN = 0
    """All there is."""
    LEAVING = 2
    """Its content is about to go elsewhere: only what is in hand may still be acknowledged."""
    LEFT = 3
    """Its content is elsewhere."""
    ARRIVING = 4
    """Content of another storage comes: nothing else is taken, and nothing handed out."""


class Stand(NamedTuple):
    """How a storage stands."""

    standing: Standing
    leaving_by: int = 0
    """Number of the move by which its content leaves or left."""
    to: str = ""
    """URL of where it goes, without a password."""
    arriving_by: int = 0
    """Number of the move by which its content arrives, or arrived last."""
    come_from: str = ""
    """Where it arrives from, as `Movable.arrive` was told."""


class Place(Enum):
    """Where messages stand."""

    FRONT = "front"
    """In front of a tube."""
    TUBE = "tube"
    WAITING = "waiting"
    """For their time, once or again and again."""
    GRAVE = "grave"


class TubeState(NamedTuple):
    """What is known of the messages at the head of a tube, or of what is in front of one."""

    failed: Failed | None = None
    """Failures of the first one."""
    at_most: int = 0
    """Batches have at most so many messages, while they begin with one of the first `isolated`."""
    isolated: int = 0
    rests_until_us: int = 0
    """Its thread is not offered before, Unix microseconds."""


class TubeLeft(NamedTuple):
    """A tube, or what is in front of one, with messages that move."""

    pipe: str
    place: Place
    length: int
    state: TubeState


class Waiting(NamedTuple):
    """Messages that wait for their time, and that come together."""

    pipe: str
    messages: Sequence[bytes]
    due_us: int
    schedule: str


class Figures(NamedTuple):
    """What a storage counted, and hands on."""

    token: int
    """Last fencing token."""
    buried: int
    """Letters that were ever buried and are there no more."""
    evicted: int


class Chunk(NamedTuple):
    """Messages of one place, in their order: one step of a move."""

    number: int
    """Of the first message, among all that move."""
    place: Place
    pipe: str
    """The tube of the messages, or of the requests that the letters are about."""
    messages: Sequence[bytes]
    grave: str = ""
    """Pipe of the grave that the letters are in."""
    due_us: int = 0
    schedule: str = ""
    state: TubeState | None = None
    """Of the tube, where these are its first messages."""

    @property
    def through(self) -> int:
        """One past the number of the last message."""
        return self.number + len(self.messages)

    def behind(self, stored: int) -> Chunk:
        """What of it is not among the first `stored` messages of the move."""
        gone = stored - self.number
        if gone <= 0:
            return self
        return self._replace(number=stored, messages=self.messages[gone:], state=None)
