"""Taking messages out of a tube wherever they stand, in one guarded section."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from shardq.shm.gate import Gate
from shardq.shm.journal import Journal
from shardq.shm.processes.sleepers import Sleepers
from shardq.shm.tubes.claims import Claims
from shardq.shm.tubes.directory import Directory
from shardq.shm.tubes.fifo import Fifos
from shardq.shm.verbs.equal_messages import EqualMessages


class Removing:
    """The verb on messages that are queued. `Deferring.remove` is that on messages that wait for their time."""

    def __init__(
        self,
        journal: Journal,
        directory: Directory,
        fifos: Fifos,
        claims: Claims,
        equals: EqualMessages,
        sleepers: Sleepers,
        section: AbstractContextManager[None],
        gate: Gate,
    ) -> None:
        self._journal = journal
        self._directory = directory
        self._fifos = fifos
        self._claims = claims
        self._equals = equals
        self._sleepers = sleepers
        self._section = section
        self._gate = gate

    def remove(self, pipe: str, messages: Sequence[bytes]) -> int:
        """Take out messages equal to these that were not handed out. Returns how many."""
        with self._section:
            thread, tubes = self._directory.tubes(pipe)
            if not self._gate.takes() or not tubes:
                return 0
            self._journal.declare(thread)
            handed_stay = self._claims.owner(thread) != 0
            taken = sum(self._fifos.cancel(tube, messages, handed_stay=handed_stay) for tube in tubes)
            self._claims.refresh(thread)
            self._equals.forget()
            self._journal.clear()
            self._claims.tallies.cancelled(thread, taken)
            self._sleepers.messages_left()
            return taken
