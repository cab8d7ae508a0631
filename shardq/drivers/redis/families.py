"""Who serves a storage, as `status` shows it: what families said of themselves, with the claims that there are."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from shardq.drivers.redis.servers.server import Server
from shardq.drivers.redis.verbs.hands import decoded
from shardq.drivers.redis.verbs.owners import Owner
from shardq.drivers.redis.verbs.presence import GONE_AFTER, HOME
from shardq.system.processes import pid_namespace


class Claim(NamedTuple):
    """A claim on a thread, as `overview.lua` returns it."""

    owner: str
    thread: str
    token: int
    """The time of the claim, Unix microseconds of the server's clock, or a little more."""
    in_hand: int
    """Messages that its holder has in hand."""
    stands: bool
    """Whether its lease is not over."""
    first: int
    """The number of the first of them."""
    since_us: int
    """When they were handed out, Unix microseconds of the server's clock."""


@dataclass(frozen=True, slots=True)
class ThreadView:
    """A thread that a worker is bound to."""

    thread: str
    in_hand: int
    """Requests of the batch in its hands."""
    age_s: float
    """How long it has had the thread."""
    batch_age_s: float
    """How long it has had that batch."""
    done: float | None
    """How far the batch has come, as its handler says. None: the handler said nothing of it."""
    total: float | None
    """None: the handler did not say how far it goes."""
    note: str


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A process that serves."""

    pid: int
    """As it is on its host, or in its container."""
    number: int | None
    """Of the worker, counted by its supervisor; None: it is not known."""
    age_s: float | None
    """How long it has been there; None: it is not known."""
    threads: list[ThreadView]


@dataclass(frozen=True, slots=True)
class FamilyView:
    """A supervisor and its workers, or a process that serves without a supervisor."""

    host: str
    supervisor_pid: int | None
    """None: there is no supervisor."""
    state: Literal["serving", "silent", "gone"]
    """`silent`: it was not heard of for longer than its lease, so other workers may have its threads; `gone`: for ten
    times as long."""
    heard_s: float | None
    """How long ago it was heard of last. None: never, and is known by its claims alone."""
    age_s: float | None
    """How long it has been there."""
    lease_s: float | None
    """How long its claims live that are not renewed."""
    handlers: list[str] | None
    """Those it serves; None: all, or it is not known."""
    workers: list[WorkerView]
    here: bool
    """Whether its pids count here, as in this pid namespace of this machine."""


def families_of(words: Sequence[bytes], claims: Iterable[Claim], now_us: int) -> list[FamilyView]:
    """`words`: the mark and the words of each family."""
    bound = dict[str, dict[Owner, list[Claim]]]()
    for claim in claims:
        owner = Owner.named(claim.owner)
        bound.setdefault(owner.mark, {}).setdefault(owner, []).append(claim)
    found = [
        _family(decoded(said), bound.pop(mark.decode(), {}), now_us)
        for mark, said in zip(words[::2], words[1::2], strict=True)
    ]
    found += [_unheard(owner, its, now_us) for owners in bound.values() for owner, its in owners.items()]
    return sorted(found, key=lambda family: (family.host, family.supervisor_pid or 0, family.age_s or 0.0))


def serves(family: FamilyView, handler: str) -> bool:
    """Whether requests of a handler can be expected to be handled by this family."""
    if family.state != "serving" or family.heard_s is None:
        return False
    return family.handlers is None or handler in family.handlers


async def serving(server: Server, handler: str) -> int:
    """How many workers serve a handler. One where a supervisor is about to begin one that does."""
    said, *words = await server.run("overview", HOME, {"limit": 0})
    families = families_of(words, (), decoded(said)["now"])
    return sum(max(1, len(family.workers)) for family in families if serves(family, handler))


def _family(said: dict[str, Any], owners: dict[Owner, list[Claim]], now_us: int) -> FamilyView:
    silence_us, lease_us = max(0, now_us - said["heard_us"]), said["lease_us"]
    bound = {owner.pid: claims for owner, claims in owners.items()}
    known = {pid: (number, (age_us + silence_us) / 1e6) for pid, age_us, number in said["workers"] or ()}
    progress = {(pid, key, first): its for pid, key, first, *its in said.get("progress") or ()}
    workers = [
        WorkerView(pid, *known.get(pid, (None, None)), _threads(pid, bound.get(pid, ()), progress, now_us))
        for pid in {*bound, *known}
    ]
    return FamilyView(
        host=said["host"],
        supervisor_pid=said.get("supervisor"),
        state="serving" if silence_us <= lease_us else "silent" if silence_us <= GONE_AFTER * lease_us else "gone",
        heard_s=silence_us / 1e6,
        age_s=(said["age_us"] + silence_us) / 1e6,
        lease_s=lease_us / 1e6,
        handlers=list(said["handlers"]) if "handlers" in said else None,
        workers=sorted(workers, key=lambda worker: worker.pid),
        here=said["host"] == socket.gethostname() and said.get("pids", "") == pid_namespace(),
    )


def _unheard(owner: Owner, claims: Sequence[Claim], now_us: int) -> FamilyView:
    """A process that has claims and said nothing: one with a lock of its own."""
    state: Literal["serving", "silent"] = "serving" if any(claim.stands for claim in claims) else "silent"
    worker = WorkerView(owner.pid, None, None, _threads(owner.pid, claims, {}, now_us))
    return FamilyView(owner.host, None, state, None, None, None, None, [worker], here=False)


def _threads(pid: int, claims: Iterable[Claim], progress: Mapping[Any, Any], now_us: int) -> list[ThreadView]:
    """`progress`: what was said of batches, by pid, thread, and number of the first request."""
    return [
        ThreadView(
            its.thread,
            its.in_hand,
            max(0, now_us - its.token) / 1e6,
            max(0, now_us - its.since_us) / 1e6 if its.in_hand else 0.0,
            *(progress.get((pid, its.thread, its.first), _NOTHING_SAID) if its.in_hand else _NOTHING_SAID),
        )
        for its in claims
    ]


_NOTHING_SAID = None, None, ""
