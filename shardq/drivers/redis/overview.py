"""A storage on a server at one moment, for operators."""

from __future__ import annotations

import socket
from dataclasses import asdict, dataclass
from typing import Any

from shardq.drivers.redis.families import Claim, FamilyView, WorkerView, families_of
from shardq.drivers.redis.plainly import plainly
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.verbs.hands import decoded
from shardq.model import DIED, ELSEWHERE, AtWork, Counts, CrewMember, Pause, split_key

#: Claims that one script returns at a time.
_CLAIMS = 256
#: What a thread is that a server knows.
_STATES = ("ready", "bound", "resting")


@dataclass(frozen=True, slots=True)
class Overview:
    """Figures of one instant for each partition, and who serves the storage. JSON encoders that know dataclasses make
    an object of it; for the standard library's there is `as_dict()`.
    """

    queued: int
    """Requests not yet acknowledged, those in hand included, and replies that no caller has taken yet."""
    accepted: int
    """Requests ever accepted."""
    handled: int
    """Requests that ever left."""
    dead: int
    """Dead letters there are."""
    buried: int
    """Requests that ever became dead letters."""
    evicted: int
    """Dead letters that were dropped to make room for others: those requests are gone."""
    replies: int
    """Messages with results that ever came for callers. They are not `accepted`."""
    replies_taken: int
    """Those of them that callers have taken. They are not `handled`."""
    deferred: int
    """Requests that wait for their time; they are not `accepted` before."""
    recurrent: int
    """Requests that come again and again."""
    next_due_us: int | None
    """When the first of both is due, Unix microseconds; None: none waits."""
    used_bytes: int
    """Of all messages and dead letters."""
    sleepers: int
    """How many wait for work, room or quiet, in the partition that has most of them."""
    standing: str
    """How it stands as far as a move is concerned: `open`, `leaving`, `left` or `arriving`, as `Standing` has them."""
    goes_to: str
    """URL of where its content goes or went, without a password. Empty: it stays."""
    paused: list[Pause]
    """The handlers that are paused."""
    threads: dict[str, int]
    """Threads by state: `ready` for a worker, `bound` to one, and `resting` after a failure; none are kept idle."""
    deaths: dict[str, int]
    """Workers that died so far, by how: `killed`, `signal`, `exited`, `hung`, `unknown`. Those that ended as they were
    told, or were killed because their time for that was over, are not among them. A death whose answer was lost may
    count twice.
    """
    families: list[FamilyView]

    @property
    def counts(self) -> Counts:
        """The figures among these that every storage has."""
        letters, later = (self.buried, self.dead), (self.deferred, self.recurrent)
        replies = self.replies, self.replies_taken
        return Counts(self.accepted, self.handled, *letters, *later, self.evicted, *replies)

    @property
    def workers(self) -> list[WorkerView]:
        """Those of all families that are not gone."""
        return [worker for family in self.families if family.state != "gone" for worker in family.workers]

    @property
    def at_work(self) -> list[AtWork]:
        """What these workers are at, without callers: they have claims, too, and say nothing of themselves."""
        heard = [family for family in self.families if family.state != "gone" and family.heard_s is not None]
        return [at_work(worker) for family in heard for worker in family.workers]

    @property
    def in_use(self) -> bool:
        """Whether a family serves it, or a process has a thread."""
        return any(family.state == "serving" for family in self.families)

    @property
    def is_served(self) -> bool:
        """The same, as every storage says it."""
        return self.in_use

    @property
    def crew(self) -> list[CrewMember]:
        """The workers of families that are not gone, by host and supervisor."""
        there = [family for family in self.families if family.state != "gone"]
        return [_member(family, worker) for family in there for worker in family.workers]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)


def _member(family: FamilyView, worker: WorkerView) -> CrewMember:
    at = at_work(worker)
    state = "silent" if family.state == "silent" else "busy" if at.requests else "idle"
    # Containers may have the host name of their machine, and the same pids.
    apart = family.host == socket.gethostname() and not family.here
    host = f"{family.host}, {ELSEWHERE}" if apart else family.host
    return CrewMember(host, family.supervisor_pid, state, at, None)


def at_work(worker: WorkerView) -> AtWork:
    """What a worker is at."""
    busy = next((its for its in worker.threads if its.in_hand), None)
    if busy is None:
        return AtWork(worker.number or 0, worker.pid, None, None, 0, 0.0, None, None, "")
    handler, thread = split_key(busy.thread)
    at = busy.in_hand, busy.batch_age_s, busy.done, busy.total, busy.note
    return AtWork(worker.number or 0, worker.pid, handler, thread, *at)


async def overview_of(storage: RedisStorage) -> Overview:
    """The storage as it is now."""
    server, first = storage.server, {"limit": _CLAIMS}
    used_bytes = sleepers = now_us = 0
    standing = goes_to = ""
    claims, words, due_us = list[Claim](), list[bytes](), list[int]()
    threads: dict[str, int] = dict.fromkeys(_STATES, 0)
    deaths: dict[str, int] = dict.fromkeys(DIED, 0)
    for partition, reply in enumerate(await server.run_everywhere("overview", first)):
        told = decoded(reply[0])
        used_bytes, now_us = used_bytes + told["used"], max(now_us, told["now"])
        sleepers = max(sleepers, told["sleepers"])
        standing, goes_to = standing or told["standing"], goes_to or told.get("to") or ""
        due_us += [int(told["next_due"])] if "next_due" in told else []
        for state in threads:
            threads[state] += told[state]
        for how, number in (told.get("deaths") or {}).items():
            deaths[how] += number
        words += reply[1:]
        claims += _claims(told)
        while "after" in told:
            more = await server.run("overview", partition, first | {"after": told["after"]})
            told = decoded(more[0])
            claims += _claims(told)
    counts = await storage.backlog()
    families = families_of(words, claims, now_us)
    return Overview(
        counts.queued,
        **counts._asdict(),
        next_due_us=min(due_us, default=None),
        used_bytes=used_bytes,
        sleepers=sleepers,
        standing=standing,
        goes_to=goes_to,
        paused=await storage.pauses(),
        threads=threads,
        deaths=deaths,
        families=families,
    )


def _claims(told: dict[str, Any]) -> list[Claim]:
    return [Claim(*its) for its in told["claims"] or ()]


def stats_of(storage: Any) -> Overview:
    """The same in plain code, which it blocks."""
    assert isinstance(storage, RedisStorage)
    return plainly(overview_of(storage))
