"""What a storage on a server knows of one pipe: one thread, and what families said of themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from shardq.drivers.redis.families import FamilyView, WorkerView
from shardq.drivers.redis.overview import at_work, overview_of
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.verbs.hands import decoded
from shardq.drivers.redis.verbs.owners import Owner
from shardq.model import AtWork, PipeFacts, Standing, WorkerFacts, key_of, priority_of, split_key

#: What a server is not told: its families see which worker is stopped or late, each on its host.
_UNKNOWN = ("stopped", "overdue", "full")


async def facts_of(storage: RedisStorage, pipe: str) -> PipeFacts:
    """Raises `HandlerError` for what is no pipe."""
    key, priority = key_of(pipe), priority_of(pipe)
    told = decoded(await storage.server.run_on(key, "facts", {"key": key}))
    overview = await overview_of(storage)
    families = [family for family in overview.families if family.state != "gone"]
    workers = list(_workers(families))
    handler, serving = split_key(key)[0], [its for its in workers if its.state == "running"]
    found = PipeFacts(
        pipe,
        standing=Standing[told["standing"].upper()],
        goes_to=told.get("to") or "",
        served=any(its.handlers is None or handler in its.handlers for its in serving),
        workers=workers,
        supervisors=sum(its.supervisor_pid is not None and its.state == "serving" for its in families),
        paused=next((its for its in overview.paused if its.handler == handler), None),
        unknown=_UNKNOWN,
    )
    return found if "tubes" not in told else _with_thread(found, key, priority, told, workers)


def _with_thread(
    found: PipeFacts, key: str, priority: int, told: dict[str, Any], workers: Sequence[WorkerFacts]
) -> PipeFacts:
    tubes, now_us = list(told["tubes"] or ()), told["now"]
    lengths, taken, requests, age_s, heads = dict[int, int](), None, 0, 0.0, dict[int, Any]()
    # What is in front of a tube is named with an f, and comes before it.
    for name, count, handed, since_us, failed in sorted(tubes, key=lambda its: its[0], reverse=True):
        its = int(name.removeprefix("f"))
        lengths[its] = lengths.get(its, 0) + count
        heads.setdefault(its, failed)
        if handed:
            taken, requests, age_s = its, requests + handed, max(0, now_us - since_us) / 1e6
    failed = heads.get(priority) or None
    return replace(
        found,
        queued=lengths.pop(priority, 0),
        others=dict(sorted(lengths.items())),
        owner=_owner(told, key, (requests, age_s), workers),
        taken=taken,
        attempts=failed["attempts"] if failed else 0,
        failed_ago_s=max(0, now_us - failed["last_us"]) / 1e6 if failed else 0.0,
        died=bool(failed and failed.get("ending")),
        rests_s=max(0, (told.get("pause_end") or 0) - now_us) / 1e6,
    )


def _owner(
    told: dict[str, Any], key: str, hand: tuple[int, float], workers: Sequence[WorkerFacts]
) -> WorkerFacts | None:
    """Who has the thread. A lease that is over ends with the next look of any worker."""
    if "owner" not in told:
        return None
    owner, lives = Owner.named(told["owner"]), told["lease_end"] > told["now"]
    known = next((its for its in workers if (its.host, its.at.pid) == (owner.host, owner.pid)), None)
    requests, age_s = hand
    batch = AtWork(known.at.number if known else 0, owner.pid, *split_key(key), requests, age_s, None, None, "")
    if known and f"{known.at.handler}/{known.at.thread}" == key:  # its family may have said how far that batch is
        batch = replace(batch, done=known.at.done, total=known.at.total, note=known.at.note)
    handlers = known.handlers if known else None
    return WorkerFacts(batch, "running" if lives else "silent", owner.host, None, handlers)


def _workers(families: Sequence[FamilyView]) -> Iterator[WorkerFacts]:
    for family in families:
        for worker in family.workers:
            yield _worker(family, worker)


def _worker(family: FamilyView, worker: WorkerView) -> WorkerFacts:
    handlers = None if family.handlers is None else tuple(sorted(family.handlers))
    serves = family.state == "serving"
    return WorkerFacts(at_work(worker), "running" if serves else "silent", family.host, None, handlers)
