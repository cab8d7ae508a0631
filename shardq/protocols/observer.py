"""What looks at a storage from outside, for operators and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from shardq.model import (
    MOST_ACTIONS,
    Action,
    Batch,
    Counts,
    CrewMember,
    HandlerView,
    Pause,
    PipeFacts,
    Scheduled,
    TubeView,
)
from shardq.pages import PAGE_ITEMS, Page
from shardq.protocols.deferrals import DeferralsSeen


class Readable(Protocol):
    """The looks that a `Storage` allows as well, with what its clauses say of them."""

    async def length(self, pipe: str) -> int: ...

    async def pipes(self, after: Any = None, limit: int = PAGE_ITEMS) -> Page[str]: ...

    async def range(self, pipe: str, limit: int, after: int | None = None) -> Batch: ...

    async def graves(self, after: Any = None, limit: int = PAGE_ITEMS) -> Page[str]: ...

    async def scheduled(self, after: Any = None, limit: int = PAGE_ITEMS) -> Page[Scheduled]: ...

    @property
    def deferrals(self) -> DeferralsSeen: ...

    async def backlog(self) -> Counts: ...

    async def pauses(self) -> list[Pause]: ...

    async def actions(self, limit: int = MOST_ACTIONS) -> list[Action]: ...


class Knowing(Protocol):
    """What can be asked why requests do not run: each `Observer`, and a storage in memory itself."""

    async def facts(self, pipe: str) -> PipeFacts: ...

    async def length(self, pipe: str) -> int: ...

    async def scheduled(self, after: Any = None, limit: int = PAGE_ITEMS) -> Page[Scheduled]: ...

    async def backlog(self) -> Counts: ...


class Overviewed(Protocol):
    """A storage as a whole at one moment. Each driver has further figures of its own, which it describes."""

    @property
    def counts(self) -> Counts: ...

    @property
    def is_served(self) -> bool:
        """Whether a family serves it, or a worker without one."""
        ...

    @property
    def crew(self) -> list[CrewMember]:
        """Its workers, by host and number."""
        ...

    @property
    def standing(self) -> str:
        """How it stands as far as a move is concerned: a name of `Standing` in lower case."""
        ...

    @property
    def goes_to(self) -> str:
        """URL of where its content goes or went. Empty: it stays."""
        ...

    @property
    def paused(self) -> Sequence[Pause]:
        """The handlers that are paused."""
        ...

    def as_dict(self) -> Mapping[str, Any]:
        """All of it as plain values."""
        ...


class Observer(Readable, Protocol):
    """Looks at a storage without taking part in it. `shardq.observe` makes one; close it when done.

    O1. Its looks show what a storage shows in those of the same name: the same messages, numbers, order and counts.
        Where nothing changes meanwhile they are the same; where something does, each tube, thread and request is shown
        as it was at one instant, and they need not be of the same one. (P12)
    O2. It changes nothing. It has no part in what is stored: it keeps no storage alive, no process waits for it, and it
        is neither a worker nor a caller. [Shared memory: it has no slot, takes no lock, and its mapping cannot be
        written. Redis: it has a connection; on a server that has no storage yet its first look makes an empty one.]
    O3. It waits for no other process, stopped, dead or hung as that may be. [Redis: for the server alone.]
    O4. `tubes` lists each tube that is not empty, page by page, with what is known of it: how long its first request
        waits, who has its thread, how often that request failed, how long the thread rests. What came or went meanwhile
        may be left out. [Redis: how long it waits since it came to this storage, and not where that would take reading
        large messages.]
    O5. Each look ends, whatever others do. What changes too fast to be copied is left out, and counted in `missed`.
        Damage raises an error of `shardq.errors`. [Redis: nothing is left out, so `missed` stays 0.]
    O6. `overview` has the figures of the whole storage; its `counts` are those of `backlog`, its `crew` are the workers
        with what each has in hand. It says how the storage stands, and where its content goes.
    O7. `handlers` has what was counted of each handler since the storage was made. No count ever goes back, and a death
        loses those of one batch at most. [Redis: workers say about once a second what they did, and when they have
        nothing to do. What a worker did not say is lost with it, and what a server lost is counted no more.]
    O8. `facts` has what is known of one pipe: its requests and those of its thread are of one instant. Of a pipe that
        is not there, too, it says how the storage stands and who works for it. What the storage cannot know is None,
        and the reasons that cannot be seen for that are in `unknown`. [Memory: the storage itself is asked.]
    O9. `pauses`, and `paused` of the overview, are those of the storage. `tubes` says of each tube whether its handler
        is paused, and `facts` which pause it has.
    O10. `actions` are those of the storage, the latest first.
    """

    @property
    def missed(self) -> int:
        """How many threads, tubes and requests its looks left out so far, because they changed too fast."""
        ...

    async def overview(self) -> Overviewed: ...

    async def handlers(self) -> list[HandlerView]: ...

    async def tubes(self, after: Any = None, limit: int = PAGE_ITEMS) -> Page[TubeView]: ...

    async def facts(self, pipe: str) -> PipeFacts: ...

    def close(self) -> None:
        """Let go of what it holds. Closing twice is fine."""
        ...
