"""A storage on a server as a move sees it: see `shardq.protocols.moving`.

Each partition is told of the move by itself. Partition 0 says whether the messages were handed over; the other
partitions of a source take nothing and hand out nothing by then, and those of a target neither, until each is open.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from shardq.drivers.redis.hands import decoded, ending_told, failed_said
from shardq.drivers.redis.records import batch_of, bodies_of, messages_of
from shardq.drivers.redis.replies import NoMemory
from shardq.drivers.redis.rooms import HAND_OVER_PART, NO_ROOM, Room
from shardq.drivers.redis.storage import RedisStorage
from shardq.errors import MoveRefused, StorageDamaged, StorageRefused
from shardq.model import Batch, Chunk, Figures, Place, Stand, Standing, TubeLeft, TubeState, Waiting, key_of
from shardq.pages import Page

#: How many threads or entries a page has.
_AT_ONCE = 64
#: What `bring.lua` returns for a move that the storage knows nothing of.
_UNKNOWN_MOVE = -2
#: Sets of what waits: due once, again and again, and again without room.
_SETS = (1, 2, 3)


class MovableServer:
    """`Movable` over a storage on a server."""

    def __init__(self, storage: RedisStorage) -> None:
        self.storage = storage
        self._server = storage.server
        self._stored: dict[int, int] = {}
        """By partition, how many messages of the move are known to be stored."""

    async def stand(self) -> Stand:
        told = await self._told(0)
        by = int(told["leaving_by"]), told["to"], int(told["arriving_by"])
        return Stand(Standing[told["standing"].upper()], *by, told["come_from"])

    async def leave(self, move: int, to: str) -> None:
        for partition in await self._partitions():
            await self._step(partition, "leave", move, to)

    async def stay(self, move: int) -> bool:
        if (await self.stand()).standing is Standing.LEFT:
            return False
        for partition in await self._partitions():
            await self._server.run("leave_for", partition, {"move": move, "step": "stay", "to": ""})
        return True

    async def in_hand(self) -> list[str]:
        found = list[str]()
        for partition in await self._partitions():
            found += [key.decode() for key in await self._server.run("hands", partition, {})]
        return found

    async def tubes(self, after: tuple[int, str] | None = None) -> Page[TubeLeft]:
        partition, key = after or (0, "")
        arguments: dict[str, Any] = {"limit": _AT_ONCE} | ({"after": key} if key else {})
        threads = await self._server.run("tubes", partition, arguments)
        page = Page[TubeLeft]()
        for name, said in zip(threads[::2], threads[1::2], strict=True):
            page += _tubes_of(name.decode(), decoded(said))
        page.after = (partition, threads[-2].decode()) if len(threads) == 2 * _AT_ONCE else (partition + 1, "")
        if page.after[0] == len(await self._partitions()):
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
        elif partition + 1 < len(await self._partitions()):
            page.after = partition + 1, _SETS[0], 0
        return page

    async def figures(self) -> Figures:
        every = [await self._told(partition) for partition in await self._partitions()]
        buried, evicted = (sum(int(told[name]) for told in every) for name in ("buried", "evicted"))
        return Figures(max(int(told["token"]) for told in every), buried, evicted)

    async def message_bytes(self) -> int:
        return sum([int((await self._told(partition))["used"]) for partition in await self._partitions()])

    async def hand_over(self, move: int) -> None:
        await self._step(0, "hand_over", move)

    async def forget(self, move: int) -> None:
        stand = await self.stand()
        if stand.standing is not Standing.LEFT or stand.leaving_by != move:
            return
        for partition in reversed(await self._partitions()):
            await self._step(partition, "hand_over", move)
            await self._server.run("forget", partition, {"move": move})

    async def arrive(self, move: int, come_from: str) -> None:
        partitions = await self._partitions()
        for partition in partitions:
            if not await self._server.run(
                "arrive", partition, {"move": move, "step": "arrive", "come_from": come_from}
            ):
                for earlier in partitions[:partition]:
                    await self._server.run("arrive", earlier, {"move": move, "step": "clear"})
                raise MoveRefused(
                    f"the storage on {self._server.address} is not empty, or another move has to do with it: move to "
                    "another one, or to another prefix"
                )

    async def room_bytes(self) -> int | None:
        """By the bound of the storage, else by that of a server that has it alone and tells."""
        most = Room(self.storage.settings.capacity_bytes).most()
        if most is not None or len(await self._partitions()) > 1:
            return most
        with suppress(StorageRefused, StorageDamaged):
            lines = (await self._server.ask(b"INFO", b"memory")).decode().split()
            told = dict(line.split(":", 1) for line in lines if ":" in line)
            if int(told["maxmemory"]):
                return max(0, int(told["maxmemory"]) - int(told["used_memory"]))
        return None

    async def stored(self, chunk: Chunk) -> int:
        partition = (await self._server.layout()).partition_of(key_of(chunk.pipe))
        if partition not in self._stored:
            self._stored[partition] = int((await self._told(partition))["arrived"])
        return self._stored[partition]

    async def store(self, move: int, chunk: Chunk) -> bool:
        layout, room = await self._server.layout(), Room(self.storage.settings.capacity_bytes)
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
        }
        if chunk.schedule:
            arguments["schedule"] = chunk.schedule
        if chunk.state:
            arguments["state"] = _state_told(chunk.state)
        bodies = chunk.messages if chunk.place is Place.GRAVE else bodies_of(chunk.messages)
        try:
            stored = int(await self._server.run("bring", partition, arguments, *bodies))
        except NoMemory:
            stored = NO_ROOM
        if stored == NO_ROOM:
            if chunk.place is not Place.GRAVE:
                room.check_fits([(chunk.pipe, chunk.messages)])
            return False
        if stored == _UNKNOWN_MOVE:
            raise MoveRefused(
                f"the storage on {self._server.address} takes nothing of this move any more: it was cancelled"
            )
        self._stored[partition] = stored
        return True

    async def settle(self, move: int, number: int, figures: Figures) -> None:
        arguments = {"move": move, "number": number, **figures._asdict()}
        await self._server.run("settle", 0, arguments)
        for partition in (await self._partitions())[1:]:
            of_others = arguments | {"buried": 0, "evicted": 0}
            await self._server.run("settle", partition, of_others)

    async def open(self, move: int) -> None:
        for partition in await self._partitions():
            if not await self._server.run("arrive", partition, {"move": move, "step": "open"}):
                raise MoveRefused(
                    f"the storage on {self._server.address} is not the one that the content went to: it was removed "
                    "and made anew"
                )

    async def clear(self, move: int) -> None:
        for partition in await self._partitions():
            await self._server.run("forget", partition, {"move": move, "arriving": True})
            await self._server.run("arrive", partition, {"move": move, "step": "clear"})

    async def _partitions(self) -> Sequence[int]:
        return range((await self._server.layout()).partitions)

    async def _told(self, partition: int) -> dict[str, Any]:
        told: dict[str, Any] = decoded(await self._server.run("stand", partition, {}))
        return told

    async def _step(self, partition: int, step: str, move: int, to: str = "") -> None:
        if not await self._server.run("leave_for", partition, {"move": move, "step": step, "to": to}):
            raise MoveRefused(
                f"the storage on {self._server.address} does not leave by this move: another one has to do with it, or "
                "it was cancelled"
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
