"""The tubes of a storage on a server as operators see them: how many wait, since when, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from shardq.drivers.redis.families import families_of, serves
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.verbs.hands import decoded
from shardq.drivers.redis.verbs.owners import Owner
from shardq.drivers.redis.verbs.presence import HOME
from shardq.model import TubeView, split_key
from shardq.pages import Page


async def tubes_of(storage: RedisStorage, after: tuple[int, str | None] | None, limit: int) -> Page[TubeView]:
    """Partition by partition. `after`: the partition, and the last thread that was listed of it."""
    limit, (partition, key) = max(1, limit), after or (0, None)
    server, found = storage.server, list[TubeView]()
    paused = {its.handler for its in await storage.pauses()}
    said, *words = await server.run("overview", HOME, {"limit": 0})
    families = [its for its in families_of(words, (), decoded(said)["now"]) if its.state == "serving"]
    for place in range(partition, (await server.layout()).partitions):
        behind = key if place == partition else None
        arguments = {"after": behind, "limit": limit - len(found)}
        now, *threads = await server.run("views", place, arguments)
        for name, told in zip(threads[::2], threads[1::2], strict=True):
            handler = split_key(thread := name.decode())[0]
            is_served = any(serves(family, handler) for family in families) if families else None
            found += _views(thread, decoded(told), decoded(now)["now"], is_served=is_served, paused=paused)
        if len(found) >= limit:
            return Page(found, (place, threads[-2].decode()))
    return Page(found)


def _views(
    thread: str, told: dict[str, Any], now_us: int, *, is_served: bool | None, paused: Collection[str]
) -> Iterator[TubeView]:
    owner = told.get("owner")
    rests_s = max(0, (told.get("pause_end") or 0) - now_us) / 1e6
    by_priority = dict[str, list[Any]]()
    # What is in front of a tube is named with an f, and comes before it.
    for name, *its in sorted(told["tubes"] or (), key=lambda tube: tube[0], reverse=True):
        by_priority.setdefault(name.removeprefix("f"), []).append(its)
    for priority, parts in sorted(by_priority.items()):
        firsts = [first_us for _, first_us, _ in parts]
        known = all(firsts)
        yield TubeView(
            f"{thread}/{priority}",
            sum(count for count, *_ in parts),
            oldest_age_s=max(0, now_us - min(firsts)) / 1e6 if known else None,
            worker_pid=Owner.named(owner).pid if owner else None,
            unserved=None if is_served is None else not (is_served or owner),
            attempts=parts[0][2],
            rests_s=rests_s,
            paused=split_key(thread)[0] in paused,
        )
