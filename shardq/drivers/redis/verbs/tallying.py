"""What a worker counts of its batches, so that no script has to: how many requests were handled, and how long it
took. It says so about once a second with a turn, and with each turn that finds nothing in its hand.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from shardq.drivers.redis.servers.server import Server
from shardq.drivers.redis.verbs.presence import in_a_moment
from shardq.errors import ShardqError
from shardq.model import EMPTY, INBOX, Batch, bucket_of, split_key

#: What workers counted waits so many seconds at most while there are turns.
SAID_EACH_S = 1.0

#: What is counted, by handler and by name: see `lua/shared/tallies.lua`.
Tallies = dict[str, dict[str, int]]


class _InHand(NamedTuple):
    since_ns: int
    waited_us: int
    done: int
    """So many of its messages were acknowledged."""


class Saying(NamedTuple):
    """What a script is told, for `take_back` where it refuses."""

    told: dict[str, Any]
    """Its argument, if there is anything to say."""
    before: Tallies
    """What had been counted without the batch that the script acknowledges."""
    in_hand: Mapping[str, _InHand]
    """That batch, by its thread."""


class Tallying:
    """What this process counted and did not say yet. Replies for callers are not counted."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._in_hand: dict[str, _InHand] = {}
        """By thread."""
        self._tallies: Tallies = {}
        self._say_at = 0.0
        self._pid = os.getpid()

    def begin(self, key: str, batch: Batch) -> None:
        """A batch was handed out. The number of a message is when it came."""
        if batch.count and split_key(key)[0] != INBOX:
            self._in_hand[key] = _InHand(time.monotonic_ns(), max(0, batch.taken_us - batch.sequence), 0)

    def acknowledge(self, key: str, batch: Batch, count: int) -> None:
        """The first `count` of its messages left."""
        its = self._in_hand.get(key)
        if its is None:
            return
        self._of(key)["d"] = self._of(key).get("d", 0) + count - its.done
        self._in_hand[key] = its._replace(done=count)
        if count >= batch.count:
            self.end(key)

    def bury(self, key: str, batch: Batch, sequence: int) -> None:
        """One of its messages became a dead letter."""
        its = self._in_hand.get(key)
        if its:
            self._in_hand[key] = its._replace(done=its.done + 1)
        if sequence >= batch.through - 1:
            self.end(key)

    def end(self, key: str) -> None:
        """Nothing of the thread is in hand any more."""
        its = self._in_hand.pop(key, None)
        if its is None:
            return
        sums, worked_us = self._of(key), max(0, time.monotonic_ns() - its.since_ns) // 1000
        times = f"w{bucket_of(its.waited_us * 1000)}", f"k{bucket_of(worked_us * 1000)}"
        for name, by in (("waited_us", its.waited_us), ("worked_us", worked_us), *((name, 1) for name in times)):
            sums[name] = sums.get(name, 0) + by

    def is_due(self, *, idle: bool) -> bool:
        """Whether to say what was counted. `idle`: there may be no other turn soon."""
        return idle or time.monotonic() >= self._say_at

    def say(self, key: str = "", batch: Batch = EMPTY) -> Saying:
        """Say what was counted, with a script that acknowledges this batch of a thread."""
        if self._pid != os.getpid():  # the process that this one was forked from says it
            self._tallies, self._in_hand, self._pid = {}, {}, os.getpid()
        before = {handler: dict(sums) for handler, sums in self._tallies.items()}
        in_hand = {key: self._in_hand[key]} if batch.count and key in self._in_hand else {}
        if batch.count:
            self.acknowledge(key, batch, batch.count)
        tallies, self._tallies = self._tallies, {}
        self._say_at = time.monotonic() + SAID_EACH_S
        return Saying({"tallies": tallies} if tallies else {}, before, in_hand)

    def take_back(self, saying: Saying) -> None:
        """The script refused: it counted nothing, and the batch is not acknowledged."""
        for handler, sums in saying.before.items():
            its = self._tallies.setdefault(handler, {})
            for name, by in sums.items():
                its[name] = its.get(name, 0) + by
        self._in_hand.update(saying.in_hand)

    async def say_last(self) -> None:
        """Say what was counted where no other script does. A server that does not answer at once is not told."""
        told = self.say().told
        if told:
            with suppress(ShardqError, TimeoutError):
                await in_a_moment(self._server.run("tally", 0, told, patience_s=0.0))

    def _of(self, key: str) -> dict[str, int]:
        return self._tallies.setdefault(split_key(key)[0], {})
