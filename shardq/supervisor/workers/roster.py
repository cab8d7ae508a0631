"""The worker processes of a family: those that its supervisor started, and those of a supervisor that died."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

from shardq.supervised import Supervised
from shardq.supervisor.watch import Watch
from shardq.supervisor.workers.deaths import Death
from shardq.supervisor.workers.member import Member

#: Why this process killed a worker.
ON_PURPOSE, HUNG = "killed at the deadline, which is no failure", "killed because its handler hung"

#: Called with a worker that ended, how it ended, and why this process killed it, or an empty text.
OnDeath = Callable[[Member, Death, str], None]


class Roster:
    """The living workers, each watched for its end."""

    def __init__(self, storage: Supervised, watch: Watch, on_death: OnDeath) -> None:
        self._storage = storage
        self._watch = watch
        self._on_death = on_death
        self.members: dict[int, Member] = {}
        """Workers of this supervisor by pid."""
        self.strangers: dict[int, Member] = {}
        """Workers of a supervisor that died, which this one is ending."""
        self._killed: dict[int, str] = {}
        """Why workers were killed by this very process."""

    @property
    def empty(self) -> bool:
        return not self.members and not self.strangers

    @property
    def descriptors(self) -> list[int]:
        """Those that announce the ends of workers."""
        every = (*self.members.values(), *self.strangers.values())
        return [member.descriptor for member in every if member.descriptor >= 0]

    def add(self, member: Member) -> None:
        self._group(member)[member.pid] = member
        self._watch.add_member(member, lambda: self._look(member))

    def new_strangers(self) -> Iterator[Member]:
        """Add the workers of a supervisor that died, one by one. Raises `OSError` where no descriptor is left for one:
        the next call finds that one and those behind it.
        """
        for pid in set(self._storage.strangers()) - self.members.keys() - self.strangers.keys():
            try:
                stranger = Member.of(pid, 0, child=False)
            except ProcessLookupError:
                continue
            if pid not in self._storage.strangers():
                stranger.close()  # the worker has ended, and a later process has its pid
                continue
            self.add(stranger)
            yield stranger

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to each worker of this supervisor."""
        for member in self.members.values():
            member.signal(number)

    def kill(self, member: Member, why: str) -> bool:
        """Kill a worker. False: the system does not allow it."""
        if why == ON_PURPOSE:
            self._watch.step(lambda: self._storage.excuse(member.pid))  # its batch is not to blame
        self._killed[member.pid] = why
        return member.signal(signal.SIGKILL)

    def kill_all(self) -> None:
        """Kill all workers on purpose, and wait for their ends."""
        for group in (self.members, self.strangers):
            for member in group.values():
                if self.kill(member, ON_PURPOSE):
                    member.wait()
                self._watch.discard_member(member)
            group.clear()

    def _group(self, member: Member) -> dict[int, Member]:
        return self.members if member.child else self.strangers

    def _look(self, member: Member) -> None:
        """The process has ended, or may have."""
        group = self._group(member)
        # An earlier step of this round may have killed and discarded it.
        death = member.reap() if group.get(member.pid) is member else None
        if death is None:
            return
        del group[member.pid]
        self._watch.discard_member(member)
        self._on_death(member, death, self._killed.pop(member.pid, ""))
