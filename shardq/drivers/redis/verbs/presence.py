"""What families say of themselves on the server, so that operators see who serves a storage: a supervisor for itself
and its workers when it renews their claims, a worker without a supervisor when it looks for work.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from shardq.blocking import here as blocking
from shardq.drivers.redis.servers.server import Server
from shardq.drivers.redis.verbs.owners import Family
from shardq.errors import ShardqError, StorageUnavailable
from shardq.model import INBOX
from shardq.protocols import Served
from shardq.system.processes import age_s, pid_namespace

#: The partition whose keys have the families of all partitions.
HOME = 0
#: So many leases after a family was heard of last it counts as gone.
GONE_AFTER = 10
#: A family says of so many handlers that it serves them.
_MOST_HANDLERS = 1024
#: So many times in a lease a family says something.
OFTEN = 3
#: Seconds that a process gives a server to hear what it serves, or that it ends.
_PATIENCE_S = 1.0


def told(
    family: Family,
    lease_s: float,
    handlers: Collection[str] | None,
    workers: Mapping[int, tuple[int, float]],
    supervisor_pid: int | None,
    progress: Sequence[Sequence[Any]] = (),
) -> dict[str, Any]:
    """What the scripts are told of a family. `handlers`: those it serves, None: all. `workers`: by pid the number of
    each, and how many seconds it has been there. `supervisor_pid`: None where the worker has no supervisor. `progress`:
    how far workers are, see `shardq.drivers.redis.progress`.
    """
    said: dict[str, Any] = {
        "host": family.host,
        "lease_us": round(lease_s * 1e6),
        "age_us": round(age_s(supervisor_pid or os.getpid()) * 1e6),
        "workers": [[pid, round(seconds * 1e6), number] for pid, (number, seconds) in workers.items()],
    }
    if namespace := pid_namespace():
        said["pids"] = namespace
    if progress:
        said["progress"] = progress
    if supervisor_pid is not None:
        said["supervisor"] = supervisor_pid
    if handlers is not None and len(handlers) <= _MOST_HANDLERS:
        said["handlers"] = sorted({*handlers} - {INBOX})  # all workers drop results without a caller
    return {"mark": family.mark, "gone_us": round(GONE_AFTER * lease_s * 1e6), "said": said}


class Presence:
    """The name that this process has on the server. Where it works without a supervisor, it says that it is there."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._pid = 0
        self._family = Family("", "")
        self._owner = ""
        self.supervised = False
        self._serves: set[str] | None = set()
        self._said = False
        self._say_at = 0.0

    @property
    def owner(self) -> str:
        """Who holds the claims made here."""
        self._know_name()
        return self._owner

    def join(self, family: Family) -> None:
        """From now on this process is a worker of a supervisor, which says that it is there."""
        self._belong(family, supervised=True)

    def look_within_s(self, lease_s: float) -> float | None:
        """How soon this process has to look for work again, so that it is heard of; None: it need not."""
        return None if self.supervised else lease_s / OFTEN

    async def note(self, served: Served, lease_s: float, now: float) -> None:
        """A worker looks for work that serves these handlers. `now`: monotonic time. What is new is there when this
        returns; a caller that waits for results serves none, and says nothing.
        """
        if self.supervised or blocking.blocking:
            return
        self._know_name()
        is_new = self._serves is not None and (served is None or not self._serves.issuperset(served))
        if not is_new and (now < self._say_at or not self._said):
            return
        self._serves = None if served is None or self._serves is None else self._serves | set(served)
        self._said, self._say_at = True, now + _PATIENCE_S
        family = told(self._family, lease_s, self._serves, {self._pid: (1, age_s(self._pid))}, None)
        if is_new:
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await self._server.run("family", HOME, {"family": family}, patience_s=0.0)
            except (StorageUnavailable, TimeoutError):
                return  # it is said again soon
        else:
            await self._server.post("family", {HOME: {"family": family}})
        self._say_at = now + lease_s / OFTEN * 0.9  # it may look a little early

    async def renew(self, lease_s: float, now: float) -> None:
        """The same while a worker is busy, so that it does not look."""
        if self._said:
            await self.note(frozenset(), lease_s, now)

    async def end(self) -> None:
        """This process works no more. A server that does not answer at once is not told."""
        if not self._said or self._pid != os.getpid():
            return
        self._said = False
        with suppress(ShardqError, TimeoutError):
            await say_end(self._server, self._family)

    def _know_name(self) -> None:
        if self._pid != os.getpid():  # at first, and after a fork
            self._belong(Family.new(), supervised=False)

    def _belong(self, family: Family, *, supervised: bool) -> None:
        self._pid, self._family, self.supervised = os.getpid(), family, supervised
        self._owner = family.owner(self._pid)
        self._serves, self._said, self._say_at = set(), False, 0.0


async def say_end(server: Server, family: Family) -> None:
    """The family is no more. It is tried once."""
    await in_a_moment(server.run("family", HOME, {"left": family.mark}, patience_s=0.0))


async def in_a_moment(step: Awaitable[object]) -> None:
    """Wait for what a process says in its end. Raises `TimeoutError` where the server is silent."""
    if blocking.blocking:
        await step
        return
    async with asyncio.timeout(_PATIENCE_S):
        await step
