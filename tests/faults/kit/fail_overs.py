"""A cluster whose masters are killed under load, and what becomes of each message meanwhile.

Producers append to threads `First/N` messages that count up. Workers hand them out, and send every fourth one on to
`Second/N` in another partition. A supervisor renews whatever claims they have.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import suppress
from random import Random

from shardq.drivers.redis.check import wrongs
from shardq.drivers.redis.connecting import storage_of
from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.connections.scripts import script
from shardq.drivers.redis.connections.wire import PlainWire, packed
from shardq.drivers.redis.servers.layout import slot_of
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.verbs.owners import Family
from shardq.drivers.redis.verbs.records import batch_of
from shardq.errors import FencedError, StorageUnavailable
from shardq.model import Hand, Terms, split_key
from shardq.outputs import Output
from tests.support.redis_cluster import Cluster
from tests.support.tasks import LIMIT_S, eventually

FIRST, SECOND = "app.jobs/First", "app.jobs/Second"
SERVED, TERMS = frozenset((FIRST, SECOND)), {FIRST: Terms((0,), 16), SECOND: Terms((0,), 16)}
WORKERS = 3
#: A thread whose producer is so far ahead of its workers waits for them.
_AHEAD = 200
#: Seconds between two messages of a producer: so many come while a master is away that each blow hits some.
_PACE_S = 0.01
_LEASE_S = 30.0


class Load:
    """Producers and workers, and what they were told."""

    def __init__(self, url: str, threads: int) -> None:
        self._producing = storage_of(url)
        self._working = [storage_of(url) for _ in range(WORKERS)]
        self.threads = [f"{FIRST}/{number}" for number in range(threads)]
        self.order: dict[str, list[int]] = {key: [] for key in self.threads}
        """Messages whose `append` returned, by thread, without those that were lost."""
        self.confirmed = self.lost = self.refused = self.looks = self.unplanned = 0
        """`refused`: batches whose acknowledgement was."""
        self.masters: set[int] = set()
        """Ports of the masters that there should be. Empty: not known yet."""
        self.handed: defaultdict[str, set[int]] = defaultdict(set)
        """Messages that were handed out."""
        self.sent_on: defaultdict[str, set[int]] = defaultdict(set)
        """Outputs whose acknowledgement returned."""
        self.when: defaultdict[int, list[float]] = defaultdict(list)
        """When messages of a partition were handed out, monotonic."""
        self._owed: defaultdict[str, set[int]] = defaultdict(set)
        """Messages that survived, and were not acknowledged since."""
        self._doubtful: defaultdict[str, set[int]] = defaultdict(set)
        """Messages that a master may have confirmed which did not know yet that its replica took its place."""
        self.doubted: Collection[int] = ()
        """Partitions whose former master may confirm messages just now."""
        self._last: defaultdict[str, int] = defaultdict(lambda: -1)
        """The last message of a thread that was handed out for the first time."""
        self._last_lost: defaultdict[str, int] = defaultdict(lambda: -1)
        self._numbers: defaultdict[str, dict[int, int]] = defaultdict(dict)
        """Messages by their numbers."""
        self._tokens: defaultdict[int, set[int]] = defaultdict(set)
        self._tasks: list[asyncio.Task[None]] = []
        self._ends = False

    @property
    def storage(self) -> RedisStorage:
        return self._producing

    async def __aenter__(self) -> Load:
        self.layout = await self._producing.server.layout()
        for number, storage in enumerate(self._working):
            storage.turning.presence.join(Family(f"worker-{number}", "family"))
        owners = [storage.turning.owner for storage in self._working]
        self._tasks = [asyncio.create_task(self._produce(key)) for key in self.threads]
        self._tasks += [asyncio.create_task(self._work(storage)) for storage in self._working]
        self._tasks.append(asyncio.create_task(self._renew(owners)))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        for storage in (self._producing, *self._working):
            await storage.close()

    def check(self) -> None:
        """Raise what a producer or a worker met."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def settle(self) -> None:
        """Produce no more; all that is there is handled."""
        self._ends = True
        producers, others = self._tasks[: len(self.threads)], self._tasks[len(self.threads) :]
        await asyncio.wait_for(asyncio.gather(*producers), LIMIT_S)
        quiet = asyncio.create_task(self._producing.wait_for_quiet(LIMIT_S))
        await asyncio.wait({quiet, *others}, return_when=asyncio.FIRST_COMPLETED)
        self.check()
        assert await quiet, f"wedged: {await self._producing.backlog()}, {await self._producing.pipes()}"
        assert await wrongs(self._producing.server) == []
        for key in self.threads:
            assert not self._owed[key], f"{key} had {self._owed[key]} after a fail-over, which were not handled"
            missing = set(self.order[key]) - self.handed[key]
            self.lost += len(missing & self._doubtful[key])
            missing -= self._doubtful[key]
            assert not missing, f"{missing} of {key} are gone without a fail-over"

    @property
    def serves_all(self) -> bool:
        """Whether something of each thread was handed out."""
        return self.handed.keys() >= set(self.threads)

    @property
    def outputs_lost(self) -> int:
        return sum(len(its - self.handed[key]) for key, its in list(self.sent_on.items()))

    def note_survivors(self, key: str, survivors: list[int]) -> None:
        """What a thread has at the server that takes over. What its producer was told of, and what is neither there nor
        was handed out, is lost.
        """
        order = self.order[key]
        assert survivors == sorted(set(survivors)), f"{key} has {survivors}"
        known = [number for number in survivors if number in set(order)]
        after = [number for number in survivors if number not in set(order)]
        assert len(after) <= 1, f"{key} has {after}, of which no producer was told"
        doubtful = self._doubtful[key] - set(known)
        if known:
            between = [number for number in order if known[0] <= number <= known[-1] and number not in doubtful]
            assert known == between, f"{key}: {known} of {order}"
        first = survivors[0] if survivors else None
        left = [number for number in order if first is not None and number < first]
        skipped = set(left) - self.handed[key] - self._doubtful[key]
        assert not skipped, f"{key} lacks {skipped}, and has {survivors}"
        lost = [number for number in order if number not in set(known) and number not in self.handed[key]]
        self.lost += len(lost)
        self._last_lost[key] = max([self._last_lost[key], *lost])
        self.order[key] = known
        self._owed[key] = set(survivors)

    def note_masters(self, there: set[int]) -> None:
        """Where a replica took the place of a master that no blow hit, as on a machine where servers do not get to run,
        that master may have confirmed what its replica lacks.
        """
        if self.masters and there != self.masters:
            self.unplanned += 1
            for key in self.threads:
                self._doubtful[key] |= set(self.order[key]) - self.handed[key]
                self._owed[key] -= self._doubtful[key]
        self.masters = there

    async def _produce(self, key: str) -> None:
        number = 0
        while not self._ends:
            if number > max(self._last[key], self._last_lost[key]) + _AHEAD:
                await asyncio.sleep(0.01)  # no further ahead: what a fail-over may lose is to be little
                continue
            assert await self._producing.append([(f"{key}/0", [b"%d" % number])]) == 1
            self.order[key].append(number)
            if self.layout.partition_of(key) in self.doubted:
                self._doubtful[key].add(number)
            self.confirmed += 1
            number += 1
            await asyncio.sleep(_PACE_S)  # a load that the server can take beside its fail-overs

    async def _work(self, storage: RedisStorage) -> None:
        hand: Hand | None = None
        while True:
            highest = {place: max(tokens) for place, tokens in self._tokens.items()}
            try:
                found = await self._turned(storage, hand)
            except FencedError:
                assert hand
                self.refused += 1
                await storage.unclaim(hand.key, hand.token)
                hand = None
                continue
            if found and (hand is None or found.token != hand.token):
                self._claimed(found, highest)
            hand = found
            if hand:
                self._handed_out(hand)

    async def _turned(self, storage: RedisStorage, hand: Hand | None) -> Hand | None:
        outputs = self._outputs(hand) if hand else []
        found = await storage.turn(hand, SERVED, TERMS, stay=False, outputs=outputs)
        if hand:
            self._acknowledged(hand, outputs)
        if found and found.batch.count:
            return found
        return await storage.rest(found, SERVED, TERMS, 0.5, stay=False)

    async def _renew(self, owners: list[str]) -> None:
        while True:
            with suppress(StorageUnavailable):
                await self._producing.of_owner(*owners, lease_s=_LEASE_S)
            await asyncio.sleep(0.2)  # much more often than the lease ends, whatever a fail-over holds up

    def _outputs(self, hand: Hand) -> list[Output]:
        handler, thread = split_key(hand.key)
        sent_on = [message for message in hand.batch.messages if handler == FIRST and int(message) % 4 == 0]
        return [Output(f"{SECOND}/{thread}/0", sent_on)] if sent_on else []

    def _acknowledged(self, hand: Hand, outputs: list[Output]) -> None:
        self._owed[hand.key] -= set(map(int, hand.batch.messages))
        for output in outputs:
            self.sent_on[output.pipe.removesuffix("/0")].update(map(int, output.messages))

    def _claimed(self, hand: Hand, highest: dict[int, int]) -> None:
        place = self.layout.partition_of(hand.key)
        assert hand.token not in self._tokens[place], f"token {hand.token} of {hand.key} comes again"
        assert hand.token > highest.get(place, 0), f"token {hand.token} of {hand.key} after {highest[place]}"
        self._tokens[place].add(hand.token)

    def _handed_out(self, hand: Hand) -> None:
        key, numbers = hand.key, list(map(int, hand.batch.messages))
        self.when[self.layout.partition_of(key)] += [time.monotonic()] * len(numbers)
        if split_key(key)[0] == FIRST:  # outputs of a batch come again where its acknowledgement is lost
            assert numbers == sorted(set(numbers)), f"{key} handed out {numbers}"
        for sequence, number in zip(hand.batch.numbers, numbers, strict=True):
            former = self._numbers[key].setdefault(sequence, number)
            assert former == number, f"{key} has number {sequence} for {former} and for {number}"
            if number not in self.handed[key]:
                assert number > self._last[key], f"{key} has {number} after {self._last[key]}"
                self._last[key] = number
                self.handed[key].add(number)


class Blow:
    """The end of one master, or its silence."""

    def __init__(self, cluster: Cluster, load: Load, random: Random) -> None:
        self._cluster, self._load, self._random = cluster, load, random
        masters = cluster.masters()
        load.note_masters({node.port for node in masters})
        self.master = random.choice(masters)
        self.replica = cluster.replica_of(self.master)
        self.begun = 0.0
        """When it ended, monotonic."""
        self._is_silent = False
        self._places: list[int] = []
        """Partitions of the master."""

    async def strike(self, *, lags: bool) -> None:
        """Kill it, and see what its replica has, which hears of nothing for a while before where it `lags`."""
        self._places = await self._places_of_master()
        if lags:
            self.replica.pause(signal.SIGSTOP)
            await asyncio.sleep(self._random.uniform(0, 0.05))  # by the draw: so much the replica may still get
            await asyncio.to_thread(self.master.ask, "CLIENT", "KILL", "TYPE", "replica")
            await asyncio.sleep(self._random.uniform(0.01, 0.3))  # by the draw: for so long it lags
        await asyncio.to_thread(self.master.kill)
        self.begun = time.monotonic()
        if lags:
            self.replica.pause(signal.SIGCONT)
        await self._note_survivors(self._hear_end)

    async def silence(self) -> None:
        """Let it neither answer nor hear, with its connections open. It may have answered a producer and not have told
        its replica yet, as one that is killed.
        """
        self._places = await self._places_of_master()
        self.master.pause(signal.SIGSTOP)
        self.begun, self._is_silent = time.monotonic(), True
        await self._note_survivors(self._hear_rest)

    async def until_all_go_on(self) -> float:
        """Seconds until each partition of the master that gets messages is served again."""
        places = set(self._places) & set(map(self._load.layout.partition_of, self._load.threads))
        served_again = 0.0

        def all_go_on() -> bool:
            nonlocal served_again
            self._load.check()
            firsts = [self._first_after(place, self.begun) for place in places]
            served_again = max(firsts, default=self.begun)
            return served_again != float("inf")

        await eventually(all_go_on, f"{places} go on")
        return served_again - self.begun

    def others_in(self, begin: float, end: float) -> int:
        """How many messages of other partitions were handed out meanwhile."""
        others = self._load.when.keys() - set(self._places)
        return sum(begin < at <= end for place in others for at in self._load.when[place])

    async def mend(self) -> None:
        """Let it go on, once its replica took its place: it is a replica from then on, which has all."""
        await eventually(lambda: asyncio.to_thread(self._is_replaced), "the replica takes over")
        if self._is_silent:
            self._load.doubted = self._places  # it answers what it was asked before it hears of its replica
            self.master.pause(signal.SIGCONT)
        else:
            await asyncio.to_thread(self.master.start)
        await eventually(lambda: asyncio.to_thread(self.master.follows, self.replica), "the former master follows")
        self._load.doubted = ()
        await eventually(lambda: asyncio.to_thread(self._cluster.is_whole), "the cluster is whole")
        self._load.masters = self._load.masters - {self.master.port} | {self.replica.port}

    def _is_replaced(self) -> bool:
        return "role:master" in self.replica.ask("INFO", "replication")

    async def _places_of_master(self) -> list[int]:
        link = (await self._load.storage.server.here()).link
        owned = list[int]()
        for place in self._load.layout.everywhere:
            if (await link.node_of(slot_of(place))).port == self.master.port:  # type: ignore[attr-defined]
                owned.append(place)
        return owned

    def _first_after(self, place: int, begun: float) -> float:
        return next((at for at in self._load.when[place] if at > begun), float("inf"))

    async def _note_survivors(self, hear: Callable[[], None]) -> None:
        """`hear`: returns once the replica has all that its master sent."""
        survivors = await asyncio.to_thread(self._survivors, hear)
        for key, numbers in survivors.items():
            self._load.note_survivors(key, numbers)
        self._load.looks += bool(survivors)

    def _hear_end(self) -> None:
        deadline = time.monotonic() + LIMIT_S
        while "link_status:up" in self.replica.ask("INFO", "replication"):
            assert time.monotonic() < deadline, "the replica does not see that its master is gone"
            time.sleep(0.005)

    def _hear_rest(self) -> None:
        """What a stopped master sent is in the replica's socket: the replica has all when it gets no further."""
        before, now = -1, self._heard_bytes()
        while now != before:
            time.sleep(0.005)
            before, now = now, self._heard_bytes()

    def _heard_bytes(self) -> int:
        """How much of its master's changes the replica has, as it counts them."""
        return int(self.replica.ask("INFO", "replication").partition("master_repl_offset:")[2].split()[0])

    def _survivors(self, hear: Callable[[], None]) -> dict[str, list[int]]:
        """What the replica has, by thread. Nothing where it took over before it was looked at."""
        hear()
        wire = PlainWire(Address(host="127.0.0.1", port=self.replica.port))
        try:
            wire.ask(packed(b"READONLY"))
            found = dict[str, list[int]]()
            for key in self._load.threads:
                if (place := self._load.layout.partition_of(key)) in self._places:
                    told = {"key": key, "names": ["f0", "0"], "limit": 1 << 20, "after": None}
                    said = wire.ask(self._load.layout.command(script("range"), place, told).with_text)
                    found[key] = list(map(int, batch_of(said).messages))
            return {} if self._is_replaced() else found
        finally:
            wire.close()
