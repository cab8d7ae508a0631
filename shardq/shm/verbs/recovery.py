"""Mends what a death left half done. Every step may be repeated: the process that mends can die too."""

from __future__ import annotations

from shardq.shm.damage import damaged
from shardq.shm.journal import Journal
from shardq.shm.memory.reserve import Reserve
from shardq.shm.segment import Segment
from shardq.shm.tubes.claims import Claims
from shardq.shm.tubes.directory import Directory
from shardq.shm.tubes.fifo import Fifos
from shardq.shm.verbs.equal_messages import EqualMessages
from shardq.shm.verbs.transfer import Transfer


class Recovery:
    """Brings one thread entry in line with its committing stores. All methods want the guard held."""

    def __init__(
        self,
        segment: Segment,
        journal: Journal,
        directory: Directory,
        fifos: Fifos,
        claims: Claims,
        transfer: Transfer,
        equals: EqualMessages,
    ) -> None:
        self._name = segment.name
        self._words = segment.words
        self._bytes = segment.bytes
        self._layout = segment.layout
        self._journal = journal
        self._directory = directory
        self._fifos = fifos
        self._claims = claims
        self._transfer = transfer
        self._equals = equals
        self._reserve = Reserve(segment)

    def mend(self) -> None:
        """Finish or undo what the standing intent names, and clear it."""
        if (
            any(thread >= self._layout.threads for thread in self._journal.threads)
            or self._journal.tube >= self._layout.tubes
        ):
            raise damaged(self._name, "what was being changed cannot exist")
        self._journal.redo()
        self._reserve.mend()
        tube = self._journal.tube
        if tube >= 0 and tube not in self._directory.tubes_of(self._journal.thread):
            self._bytes[self._layout.tube_map + tube] = 0
        if self._journal.pending:
            # Before the tubes: an extent that a tube was about to take over must not be swept as one that it lost.
            self._transfer.mend()
        for thread in self._journal.threads:
            if self._directory.linked(thread):
                self._mend_thread(thread)
            else:
                self._directory.free_entries(thread)
        self._equals.forget()
        self._journal.clear_pending()
        self._journal.clear()

    def adopt_orphans(self) -> int:
        """Free the threads whose worker died. Returns how many. A sleeping process is called to each that has work.

        There is nothing else to mend: had the worker died inside the guard, an intent would stand.
        """
        orphans = self._claims.orphans()
        for thread in orphans:
            self._journal.declare(thread)
            self._claims.refresh(thread)
            self._claims.call_for(thread)
            self._journal.clear()
        return len(orphans)

    def _mend_thread(self, thread: int) -> None:
        for tube in self._directory.tubes_of(thread):
            self._fifos.settle(tube)
            self._fifos.chains.sweep(tube)
        self._claims.refresh(thread)
        # The dead process may have made the thread ready and died before it called a worker to it.
        self._claims.call_for(thread)
