"""A storage on a server as the supervisor of its workers sees it, and the workers as such.

The supervisor renews the claims of its workers, at a third of their lease, so a handler that does not let the event
loop run keeps its thread. When one of them dies it ends its claims at once. While the server cannot be reached it knows
what it knew before, and says later what it could not say.
"""

from __future__ import annotations

import logging
import os
import random
import select
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from shardq.drivers.redis.connections.replies import Moving
from shardq.drivers.redis.families import serves
from shardq.drivers.redis.lock import RedisLock
from shardq.drivers.redis.news import ARRIVED, DEADLINE, PROGRESS, RENEW, WORK, News
from shardq.drivers.redis.overview import at_work, overview_of
from shardq.drivers.redis.plainly import plainly
from shardq.drivers.redis.progress import EVERY_S
from shardq.drivers.redis.servers.plain_bells import PlainBells
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.verbs.owners import Family
from shardq.drivers.redis.verbs.presence import HOME, OFTEN, say_end, told
from shardq.drivers.redis.workers import Workers
from shardq.errors import ShardqError, StorageMoved, StorageUnavailable
from shardq.model import INBOX, AtWork, Counts, Died, Ending, key_of, split_key
from shardq.pages import Page
from shardq.supervised import LastSeen
from shardq.system.processes import age_s

log = logging.getLogger("shardq.supervisor")

_Found = TypeVar("_Found")

#: A sleeper with this event is the first to be woken where others have to reckon with an instant.
_TIMEKEEPER = "work\0"
_QUIET, _ALL_DONE = "quiet", "all done"
#: How soon to try again where the server cannot be reached, on an average: not all supervisors at once.
_AGAIN_S = 1.0


class SupervisedServer:
    """`Supervised` over a storage on a server. `news`, `workers` and `family`: the pipe, the workers and the name that
    this process had before it executed itself anew.
    """

    look_s = 1.0

    def __init__(
        self,
        storage: RedisStorage,
        handlers: Collection[str] = frozenset(),
        *,
        deferred: bool = False,
        drains: bool = False,
        news: News | None = None,
        workers: Mapping[int, int] | None = None,
        family: Family | None = None,
    ) -> None:
        self.storage = storage
        storage.server.most_patience_s = 0.0
        self.news = news or News()
        self.family = family or Family.new()
        self._handlers = handlers
        self._deferred = deferred
        self._events = [_TIMEKEEPER, *([_ALL_DONE if deferred else _QUIET] if drains else [])]
        self._bell: select.epoll | None = None
        self._bells = PlainBells(storage.server.address, storage.server.prefix)
        self._workers = Workers(self.news, workers or {})
        self._only_progress = False
        """Whether nothing was heard but how far the workers are."""
        self._asked_at = float("-inf")
        """When the server said last what workers are at, monotonic."""
        self._at_work: Sequence[AtWork] = ()
        self._due_us: int | None = None
        self._condemned = set[int]()
        self._unsaid: list[tuple[int, Ending]] = []
        """Deaths that the server was not told of yet."""
        self._ended = list[int]()
        """Workers whose deaths the server was told of since the claims were renewed last."""
        self._uncounted = Counter[Died]()
        """Deaths that it did not count yet, by how."""
        self._counts = Counts(0, 0)
        self._renew_at = 0.0
        self._reachable, self._told = True, False
        """Whether the server answered last, and whether the log says that it does not."""

    @property
    def hold(self) -> tuple[int, int]:
        """What a process that executes itself anew keeps: both ends of the pipe."""
        return self.news.reader, self.news.writer

    def bell(self) -> int:
        if self._bell is None:
            self.news.open()
            self._bell = select.epoll()
            self._bell.register(self.news.reader, select.EPOLLIN)
        return self._bell.fileno()

    def silence(self) -> None:
        rang = {descriptor for descriptor, _ in self._bell.poll(0)} if self._bell else set[int]()
        heard = self._workers.hear()
        self._only_progress = rang == {self.news.reader} and heard <= {PROGRESS, WORK}
        if ARRIVED in heard:
            self._renew_at = 0.0
        if self._bell:
            self._bells.drop_what_came(self._bell)

    def announce(self) -> None:
        """Say that this family serves, and how far its workers are."""
        said = {"family": self._words()}
        self._asked(lambda: plainly(self.storage.server.run("family", HOME, said, patience_s=0.0)), None)

    def quiet(self) -> bool:
        return self._asked(lambda: plainly(self.storage.is_quiet(deferred=self._deferred)), False)

    def idle(self) -> bool:
        """By the figures that were read last. A worker tells of batches no more often than each half second: one that
        told just now may have taken another batch since, of which it does not tell.
        """
        return self._counts.queued == 0 and time.monotonic() - self._workers.worked_at > 2 * EVERY_S

    def at_work(self) -> Sequence[AtWork]:
        if self._counts.queued == 0:
            return ()
        now = time.monotonic()
        if now - self._asked_at >= self.look_s:
            self._asked_at = now
            self._at_work = self._asked(self._own_work, ())
        return self._at_work

    def promote(self) -> int | None:
        now = time.monotonic()
        if self._unsaid:
            self._say_deaths()
        if self._uncounted:
            self._count_deaths()
        if now >= self._renew_at and self._renew():
            self._free_threads_of_late_turns()
            self._renew_at = now + self.storage.turning.lease_s / OFTEN
        elif self._workers.progress.left_s(now) == 0:
            self.announce()
        if not self._only_progress:
            self._due_us = self._asked(self._promoted, None)
        self._only_progress, now = False, time.monotonic()
        next_s = self._renew_at - now if self._reachable else random.uniform(0, 2 * _AGAIN_S)
        tells_in_s = self._workers.progress.left_s(now)
        next_s = next_s if tells_in_s is None else min(next_s, tells_in_s)
        at_us = time.time_ns() // 1000 + max(0, round(next_s * 1e6))
        return at_us if self._due_us is None else min(at_us, self._due_us)

    def counts(self) -> Counts:
        self._counts = self._asked(lambda: plainly(self.storage.backlog()), self._counts)
        return self._counts

    def only_unserved(self) -> list[str]:
        return self._asked(self._unserved, [])

    def wake_workers(self) -> None:
        """The script that ends a claim wakes a worker."""

    def note_death(self, pid: int, ending: Ending) -> LastSeen:
        attached = self._workers.forget(pid)
        if pid in self._condemned:
            self._condemned.discard(pid)
            ending = ending._replace(timed_out=True)
        self._unsaid.append((pid, ending))
        self._renew_at = 0.0
        return LastSeen(attached, self._say_deaths())

    def count_death(self, how: Died) -> None:
        self._uncounted[how] += 1
        self._count_deaths()

    def excuse(self, pid: int) -> None:
        owner = self.family.owner(pid)
        self._asked(lambda: plainly(self.storage.of_owner(owner, excused=True)), None)

    def condemn(self, pid: int) -> None:
        self._condemned.add(pid)

    def deadlines(self) -> dict[int, int]:
        return dict(self._workers.deadlines)

    def renewals(self) -> list[int]:
        return list(self._workers.renewals)

    def arrived(self) -> list[int]:
        return list(self._workers.numbers)

    def strangers(self) -> list[int]:
        """A worker sees by itself that its supervisor is gone."""
        return []

    def close(self) -> None:
        self._bells.hang_up(self._bell)
        self.news.close()
        if self._bell is not None:
            self._bell.close()
        plainly(self.storage.close())

    def leave(self) -> Counts | None:
        """This family is no more: its workers ended, or were killed on purpose. Returns what is left where no other one
        serves the storage.
        """
        with suppress(ShardqError):
            self._free_threads_of_killed()
            names = self._bells.names
            plainly(self.storage.server.run_each("leave", {at: ({"sleeper": name}, ()) for at, name in names.items()}))
            if self._uncounted:
                self._count_deaths()  # before: with that it says that it is there
            plainly(say_end(self.storage.server, self.family))
            overview = plainly(overview_of(self.storage))
            return None if overview.in_use else overview.counts
        return None

    def part(self) -> None:
        """In a forked worker: close what is the supervisor's."""
        if self._bell is not None:
            self._bell.close()
        self._bells.hang_up(None)
        self.news.close_reader()
        plainly(self.storage.close())

    def _promoted(self) -> int | None:
        """Move what is due, and lie down to hear of what is due earlier. Returns when the next is due by the clock of
        this host, which may show another time than that of the server.
        """
        self.bell()
        assert self._bell
        names = self._bells.listen(plainly(self.storage.server.layout()), self._bell)
        if not names:
            raise StorageUnavailable(f"no answer from {self.storage.server.address}")
        due_in_us = plainly(self.storage.promote_until(names, self._events))
        return None if due_in_us is None else time.time_ns() // 1000 + due_in_us

    def _renew(self) -> bool:
        """Whether the claims of all workers live on, and this family was heard of."""
        lease_s, said = self.storage.turning.lease_s, self._words()
        owners = map(self.family.owner, self._workers.numbers)
        renewed = self._asked(lambda: plainly(self.storage.of_owner(*owners, lease_s=lease_s, family=said)), None)
        return renewed is not None

    def _words(self) -> dict[str, Any]:
        """What this family says of itself."""
        workers = {pid: (number, age_s(pid)) for pid, number in sorted(self._workers.numbers.items())}
        progress = self._workers.progress.said(time.monotonic())
        return told(self.family, self.storage.turning.lease_s, self._handlers, workers, os.getpid(), progress)

    def _say_deaths(self) -> bool:
        """End the claims of dead workers. Returns whether the last of them had a batch in hand."""
        had_batch = False
        while self._unsaid:
            pid, ending = self._unsaid[0]
            owner = self.family.owner(pid)
            said = self._asked(lambda: plainly(self.storage.of_owner(owner, ending=ending)), None)  # noqa: B023
            if said is None:
                return False
            self._unsaid.pop(0)
            self._ended.append(pid)
            had_batch = said[0][1] > 0
        return had_batch

    def _count_deaths(self) -> None:
        """Have the server count the deaths that it does not know of. Where its answer is lost, it counts them twice."""
        said = {"family": self._words(), "deaths": dict(self._uncounted)}
        if self._asked(lambda: plainly(self.storage.server.run("family", HOME, said, patience_s=0.0)), 0):
            self._uncounted.clear()

    def _free_threads_of_late_turns(self) -> None:
        """A turn that a worker had sent before it died may run after its death was said. Nobody did what it took."""
        ended, self._ended = self._ended, []
        owners = [self.family.owner(pid) for pid in ended if pid not in self._workers.numbers]
        if owners:
            self._asked(lambda: plainly(self._end_excused(*owners)), None)

    async def _end_excused(self, *owners: str) -> None:
        """End the claims of these, so that what they have in hand counts no attempt."""
        await self.storage.of_owner(*owners, excused=True)
        await self.storage.of_owner(*owners, ending=Ending())

    def _free_threads_of_killed(self) -> None:
        """Else others would wait for their leases to end."""
        self.silence()
        self._say_deaths()
        owners = [self.family.owner(pid) for pid in sorted(self._workers.numbers)]
        if owners:
            plainly(self._end_excused(*owners))

    def _own_work(self) -> Sequence[AtWork]:
        """What the workers of this family are at."""
        families = plainly(overview_of(self.storage)).families
        here = [its for its in families if (its.host, its.supervisor_pid) == (self.family.host, os.getpid())]
        return sorted((at_work(its) for family in here for its in family.workers), key=lambda its: its.number)

    def _unserved(self) -> list[str]:
        """The tubes that are not empty, where no family serves any of them."""
        overview = plainly(overview_of(self.storage))
        families = overview.families
        # Results are for callers, and workers drop those without one.
        own, unserved, after = (INBOX, *self._handlers), list[str](), None
        paused = {its.handler for its in plainly(self.storage.pauses())}
        if paused and any(its.in_hand for worker in overview.workers for its in worker.threads):
            return []
        while True:
            page: Page[str] = plainly(self.storage.pipes(after))
            handlers = {split_key(key_of(pipe))[0] for pipe in page} - paused
            if any(name in own or any(serves(family, name) for family in families) for name in handlers):
                return []
            unserved += page
            after = page.after
            if after is None:
                return unserved

    def _asked(self, ask: Callable[[], _Found], otherwise: _Found) -> _Found:
        """What the server says; `otherwise` where it says nothing."""
        try:
            found = ask()
        except StorageMoved:
            raise
        except ShardqError as error:
            if not self._told and not isinstance(error.__cause__, Moving):
                self._told = True
                log.warning("server not available", extra={"reason": str(error)})
            self._reachable = False
            return otherwise
        if self._told:
            log.info("server available again")
        self._reachable, self._told = True, False
        return found


def join(storage: RedisStorage, news: News, family: Family, number: int) -> RedisLock:
    """Be the worker of this number of a supervisor: tell it of deadlines, and leave the renewal of claims to it."""
    storage.turning.presence.join(family)

    def note_deadline(timeout_s: float | None) -> None:
        deadline_ns = 0 if timeout_s is None else time.monotonic_ns() + round(timeout_s * 1e9)
        news.tell(DEADLINE, deadline_ns)

    storage.turning.note_deadline = note_deadline
    news.tell(ARRIVED, number)
    lock = RedisLock(storage)
    lock.renewed_for_it = True
    storage.turning.lease_s = lock.lease_s or storage.turning.lease_s
    return lock


def ask_renewal(news: News) -> None:
    """Ask the supervisor to replace this worker by a fresh process."""
    news.tell(RENEW)
