"""A storage on a server as a move sees it: see `shardq.protocols.moving`.

Partition 0 decides how the storage stands: its word is the one that says whose the messages are. Each step changes it
there, and then the other partitions follow, which take over what partition 0 says. A process that dies between two of
them leaves some that do not know of the step yet: the next command has them follow first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from shardq.drivers.redis.connections.replies import NoMemory
from shardq.drivers.redis.servers.cluster import Cluster
from shardq.drivers.redis.servers.server import answers
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.verbs.forwarding import Forwarding
from shardq.drivers.redis.verbs.hands import decoded, ending_told, entry_said, failed_said
from shardq.drivers.redis.verbs.records import batch_of, bodies_of, messages_of
from shardq.drivers.redis.verbs.rooms import HAND_OVER_PART, NO_ROOM, Room
from shardq.errors import MoveRefused, StorageDamaged, StorageRefused
from shardq.model import Batch, Chunk, Figures, Place, Stand, Standing, TubeLeft, TubeState, Waiting, key_of
from shardq.pages import Page

#: How many threads or entries a page has.
_AT_ONCE = 64
#: What `bring.lua` returns for a move that the storage knows nothing of, and where it has less than it said.
_UNKNOWN_MOVE, _LOST = -2, -3
#: Sets of what waits: due once, again and again, and again without room.
_SETS = (1, 2, 3)


class MovableServer:
    """`Movable` over a storage on a server."""

    def __init__(self, storage: RedisStorage) -> None:
        self.storage = storage
        self._server = storage.server
        self._forwarding = Forwarding(self._server, storage.settings)
        self._stored: dict[int, int] = {}
        """By partition, how many messages of the move are known to be stored."""
        self._letter = 0
        """Number of the last letter that is known to be stored, in any partition."""

    async def stand(self) -> Stand:
        await self._follow()
        told = await self._told(0)
        if told["gate"].get("dropped"):  # in some partitions, before a process ended
            await self.clear(told["gate"]["arriving_by"])
            told = await self._told(0)
        gate = told["gate"]
        standing = Standing[told["standing"].upper()]
        come_from = gate["come_from"] if standing is Standing.ARRIVING else ""
        return Stand(standing, gate["leaving_by"], gate.get("leaving", ""), gate["arriving_by"], come_from)

    async def leave(self, move: int, to: str) -> None:
        await self._step("leave", move, to)
        await self._follow()

    async def stay(self, move: int) -> bool:
        stays = await self._server.run("leave_for", 0, {"move": move, "step": "stay"})
        await self._follow()
        return bool(stays)

    async def in_hand(self) -> list[str]:
        """Also threads to which messages are on their way, and cannot come yet."""
        claimed = await self._server.run_everywhere("hands", {})
        found = [key.decode() for keys in claimed for key in keys]
        return found or await self._on_the_way()

    async def tubes(self, after: tuple[int, str] | None = None) -> Page[TubeLeft]:
        partition, key = after or (0, "")
        arguments: dict[str, Any] = {"limit": _AT_ONCE} | ({"after": key} if key else {})
        threads = await self._server.run("tubes", partition, arguments)
        page = Page[TubeLeft]()
        for name, said in zip(threads[::2], threads[1::2], strict=True):
            page += _tubes_of(name.decode(), decoded(said))
        page.after = (partition, threads[-2].decode()) if len(threads) == 2 * _AT_ONCE else (partition + 1, "")
        if page.after[0] == await self._parts():
            page.after = None
        return page

    async def read(self, tube: TubeLeft, limit: int, after: int | None = None) -> Batch:
        key, _, priority = tube.pipe.rpartition("/")
        names = [f"f{priority}" if tube.place is Place.FRONT else priority]
        arguments = {"key": key, "names": names, "limit": limit, "after": after}
        return batch_of(await self._server.run_on(key, "range", arguments))

    async def waiting(self, after: tuple[int, int, int] | None = None) -> Page[Waiting]:
        partition, which, place = after or (0, _SETS[0], 0)
        arguments = {"set": which, "from": place, "limit": _AT_ONCE}
        found = await self._server.run("waiting", partition, arguments)
        page = Page[Waiting]()
        for said, body in zip(found[::2], found[1::2], strict=True):
            pipe, due_us, schedule = decoded(said)
            page.append(Waiting(pipe, messages_of(body), int(due_us), schedule))
        if len(page) == _AT_ONCE:
            page.after = partition, which, place + _AT_ONCE
        elif which != _SETS[-1]:
            page.after = partition, which + 1, 0
        elif partition + 1 < await self._parts():
            page.after = partition + 1, _SETS[0], 0
        return page

    async def figures(self) -> Figures:
        every = await self._all_told()
        buried, evicted = (sum(told[name] for told in every) for name in ("buried", "evicted"))
        return Figures(max(told["token"] for told in every), buried, evicted)

    async def message_bytes(self) -> int:
        return sum(told["used"] for told in await self._all_told())

    async def is_as_it_was(self, move: int) -> bool:
        every = [(told["gate"]["leaving_by"], told["accepted"], told["handled"]) for told in await self._all_told()]
        leaves = all(leaving_by == move for leaving_by, *_ in every)
        noted = {"move": move, "step": "note", "content": repr(every)}
        return leaves and bool(await self._server.run("leave_for", 0, noted))

    async def hand_over(self, move: int) -> None:
        await self._step("hand_over", move)

    async def take_back(self, move: int) -> None:
        await self._server.run("leave_for", 0, {"move": move, "step": "take_back"})
        await self._follow()

    async def forget(self, move: int) -> None:
        stand = await self.stand()
        if stand.standing is not Standing.LEFT or stand.leaving_by != move:
            return
        # The one that decides comes last: as long as it has not forgotten, others may have messages.
        for partition in reversed(range(await self._parts())):
            await self._server.run("forget", partition, {"move": move})

    async def arrive(self, move: int, come_from: str) -> None:
        stand, counts, kept = await self.stand(), await self.storage.backlog(), await self._kept()
        is_here = stand.standing is Standing.ARRIVING
        # Looked at before anything changes: what another storage left has to know so until it forgot its messages.
        may_come = is_here or not (counts.queued + counts.deferred + counts.recurrent + counts.dead + kept)
        if may_come and await self._server.run("arrive", 0, {"move": move, "step": "arrive", "come_from": come_from}):
            if await self._follow():
                return
            await self.clear(move)
        raise MoveRefused(
            f"the storage on {self._server.address} is not empty, or another move has to do with it: move to another "
            "one, or to another prefix"
        )

    async def room_bytes(self) -> int | None:
        """By the share of a partition, else by what is left at a server that has the storage alone and tells."""
        most = (await self._room()).most()
        if most is not None or isinstance(self._server.address, Cluster):
            return most
        with suppress(StorageRefused, StorageDamaged):
            lines = (await self._server.ask(b"INFO", b"memory")).decode().split()
            told = dict(line.split(":", 1) for line in lines if ":" in line)
            if int(told["maxmemory"]):
                return max(0, int(told["maxmemory"]) - int(told["used_memory"]))
        return None

    async def room_of(self, pipe: str) -> int:
        bounded = self.storage.settings.capacity_bytes is not None
        return (await self._server.layout()).partition_of(key_of(pipe)) if bounded else 0

    async def stored(self, chunk: Chunk) -> int:
        partition = (await self._server.layout()).partition_of(key_of(chunk.pipe))
        if partition not in self._stored:
            told = await self._told(partition)
            self._stored[partition], self._letter = told["arrived"], max(self._letter, told["letter"])
        return self._stored[partition]

    async def store(self, move: int, chunk: Chunk) -> bool:
        layout, room = await self._server.layout(), await self._room()
        partition = layout.partition_of(key_of(chunk.pipe))
        arguments: dict[str, Any] = {
            "move": move,
            "number": chunk.number,
            "count": len(chunk.messages),
            "place": chunk.place.value,
            "pipe": chunk.pipe,
            "most": room.most(HAND_OVER_PART),
            "grave": chunk.grave,
            "due_us": chunk.due_us,
            "partition": partition,
            "partitions": layout.partitions,
            "letter": self._letter,
            "known": self._stored.get(partition, 0),
        }
        if chunk.schedule:
            arguments["schedule"] = chunk.schedule
        if chunk.state:
            arguments["state"] = _state_told(chunk.state)
        bodies = chunk.messages if chunk.place is Place.GRAVE else bodies_of(chunk.messages)
        try:
            stored, letter = await self._server.run("bring", partition, arguments, *bodies)
        except NoMemory:
            stored, letter = NO_ROOM, 0
        if stored == NO_ROOM:
            if chunk.place is not Place.GRAVE:
                room.check_fits([(chunk.pipe, chunk.messages)])
            return False
        self._check_taken(stored)
        self._stored[partition], self._letter = stored, max(self._letter, letter)
        return True

    async def settle(self, move: int, number: int, figures: Figures) -> None:
        told = {"move": move, "number": number, "letter": self._letter, **figures._asdict()}
        for partition in range(await self._parts()):
            known = {"known": self._stored.get(partition, 0)}
            self._check_taken(await self._server.run("settle", partition, told | known))
            told |= {"buried": 0, "evicted": 0}

    async def open(self, move: int) -> None:
        if not await self._server.run("arrive", 0, {"move": move, "step": "open"}):
            raise MoveRefused(
                f"the storage on {self._server.address} has not what this move brought: it was dropped there, or the "
                "storage was removed and made anew. The source still has all of it: the same command with --cancel "
                "lets the source go on. What was handled there before comes again then"
            )
        await self._follow()

    async def clear(self, move: int) -> None:
        if await self._parts() > 1:
            await self._server.run("arrive", 0, {"move": move, "step": "drop"})
        for partition in reversed(range(await self._parts())):
            told = {"move": move, "arriving": True, "opens": not partition}
            await self._server.run("forget", partition, told)
        await self._follow()

    def _check_taken(self, stored: int) -> None:
        """Raise `MoveRefused` for what `bring.lua` and `settle.lua` return where the storage took nothing."""
        if stored == _UNKNOWN_MOVE:
            raise MoveRefused(
                f"the storage on {self._server.address} takes nothing of this move any more: it was cancelled, or a "
                "replica that lacks its begin took the place of the server; give the command again"
            )
        if stored == _LOST:
            raise MoveRefused(
                f"the storage on {self._server.address} lost a part of what it had confirmed, as where a replica took "
                "the place of its server. The source has all of it: give the same command again, it brings what is "
                "missing"
            )

    async def _parts(self) -> int:
        return (await self._server.layout()).partitions

    async def _room(self) -> Room:
        return Room(self.storage.settings.capacity_bytes, await self._parts())

    async def _told(self, partition: int) -> dict[str, Any]:
        told: dict[str, Any] = decoded(await self._server.run("stand", partition, {}))
        return told

    async def _kept(self) -> int:
        """How many results are kept."""
        return sum(told["kept"] for told in await self._all_told())

    async def _all_told(self) -> list[dict[str, Any]]:
        return [decoded(told) for told in await self._server.run_everywhere("stand", {})]

    async def _follow(self) -> bool:
        """Have all partitions stand as partition 0 does. False: content is to come, and one of them has something in
        it.
        """
        others = range(1, await self._parts())
        if not others:
            return True
        its = {"gate": (await self._told(0))["gate"]}
        return all(answers((await self._server.run_each("follow", dict.fromkeys(others, (its, ())))).values()))

    async def _on_the_way(self) -> list[str]:
        """Bring on what is on its way. Returns some of the threads that it cannot come to."""
        left = range(await self._parts())
        for source in left:
            await self._forwarding.bring_on(source)
        entries = [(await self._server.run("outgoing", source, {}))[3:4] for source in left]
        return [key_of(pipe) for its in entries for entry in its for pipe in entry_said(entry)[0]["pipes"]]

    async def _step(self, step: str, move: int, to: str = "") -> None:
        if not await self._server.run("leave_for", 0, {"move": move, "step": step, "to": to}):
            raise MoveRefused(
                f"the storage on {self._server.address} does not leave by this move: another one has to do with it, or "
                "it was cancelled; give the command again"
            )


def _tubes_of(key: str, its: dict[str, Any]) -> Iterator[TubeLeft]:
    """The tubes of a thread, by priority, what is in front of each first."""
    tubes = its["tubes"] or {}
    for name in sorted(tubes, key=lambda name: (name.removeprefix("f"), name[0] != "f")):
        tube = tubes[name]
        isolated = min(tube["count"], max(0, (tube.get("small_through") or 0) - tube["head"]))
        state = TubeState(
            failed_said(tube["failed"]) if tube.get("failed") else None,
            tube["small"] if isolated else 0,
            isolated,
            int(its.get("pause_end") or 0),
        )
        place = Place.FRONT if name[0] == "f" else Place.TUBE
        yield TubeLeft(f"{key}/{name.removeprefix('f')}", place, tube["count"], state)


def _state_told(state: TubeState) -> dict[str, Any]:
    told: dict[str, Any] = {
        "at_most": state.at_most,
        "isolated": state.isolated,
        "rests_until_us": state.rests_until_us,
    }
    if state.failed:
        failed: dict[str, Any] = {
            "attempts": state.failed.attempts,
            "first_us": state.failed.first_us,
            "last_us": state.failed.last_us,
        }
        if state.failed.ending is not None:
            failed["ending"] = ending_told(state.failed.ending)
        told["failed"] = failed
    return told
