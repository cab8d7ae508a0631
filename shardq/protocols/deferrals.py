"""What a storage promises of single messages that wait for their time, and of single times of those that come again."""

from __future__ import annotations

from typing import Any, Protocol

from shardq.model import Deferred, Scheduled
from shardq.pages import PAGE_ITEMS, Page


class DeferralsSeen(Protocol):
    """The messages that wait for their time, for who looks only: S40 of `Deferrals`."""

    async def page(self, after: Any = None, limit: int = PAGE_ITEMS) -> Page[Deferred]: ...


class Deferrals(DeferralsSeen, Protocol):
    """The messages of a storage that wait for their time, as `append` with `when` made them: S24 to S26. What comes
    again and again is not among them: see S30. Only `skip` is about that.

    S40. `page` lists them page by page, as S9 says: the first due first, equal times in the order of acceptance. Each
        has an id, which it keeps until it comes or is taken out, and which no other ever gets. `after` may also be such
        an id, of one that is there or not any more: then the listing begins behind it. [Redis: equal times of several
        partitions in any order. Shared memory: some of what others defer while a page is read may be missing.]
    S41. `find` returns the one of this id, None: it is not there any more. What is no id of this storage raises
        `ConfigurationError`, here and below.
    S42. `cancel` takes out those of these ids and returns how many there were. What it took out is gone as by `remove`:
        it comes never, `backlog` counts it nowhere, it is no equal of what is `absent`, and it has made room. (P3)
    S43. `run` has the one of this id come into its tube now, behind what is there. It is in its tube or it waits, never
        both and never neither, whichever process dies when. False: there is no room in the tube, and it waits on.
        None: it is not there any more. (P3, P4) [Redis: it has its room already, so there always is room. Memory: the
        same.]
    S44. Of several that cancel the same message, run it, or have it come since its time is there, one does so. The
        others find it gone.
    S48. `skip` has a message that comes again and again leave out its next time, where that is still the one which
        `scheduled` listed. It is due next as if it had come then, see S29; where its schedule has no further time it
        ends as by `unschedule`. Whichever process dies when, it is due at the one time or at the other. Of several that
        skip the same time, or have it come, one does so. False: there is no room to tell it from others of its call,
        and it comes at its time. None: it is not there any more, has another schedule, or its time has passed. Raises
        `ScheduleError` for a schedule that cannot be read. (P3) [Memory, Redis: there always is room.]
    """

    async def find(self, its_id: str) -> Deferred | None: ...

    async def cancel(self, *ids: str) -> int: ...

    async def run(self, its_id: str) -> bool | None: ...

    async def skip(self, scheduled: Scheduled) -> bool | None: ...
