"""What a handler sends on: stored in the commit in which the batch leaves its tube that it comes of, or not at all.

A process that is killed before that commit leaves nothing of the outputs, and the batch comes again. A process that is
killed after it leaves all of them, and the batch does not come again. So each output appears once.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from shardq.errors import DirectoryFull
from shardq.outputs import Output
from shardq.shm import words as at
from shardq.shm.deferred.transfer import Transfer
from shardq.shm.journal import Journal
from shardq.shm.memory import record
from shardq.shm.memory.extents import Extents
from shardq.shm.tubes.claims import Claims
from shardq.shm.tubes.directory import NO_ROOM, NOT_FOUND, Directory
from shardq.shm.tubes.fifo import Fifos
from shardq.shm.verbs.appending import Appending
from shardq.shm.verbs.equal_messages import Asked, EqualMessages

#: Instead of outputs that were written: more messages of a tube have to come into the table of equal ones first.
AGAIN = -3
_SHARE = at.FOLLOW_UP


class AskedOutput(NamedTuple):
    """An output with the digests of its messages, where they are needed."""

    part: Asked
    due_us: int
    """When it comes into its tube, 0: at once."""
    absent: bool


class Target(NamedTuple):
    """A tube that gets messages at once."""

    pipe: str
    thread: int
    tube: int


class Written(NamedTuple):
    """Outputs that stand in the segment, and count once the stores are made."""

    stores: list[tuple[int, int]]
    targets: list[Target]
    deferred: bool
    """Whether some of them wait for their time."""


NOTHING = Written([], [], deferred=False)


class Outputs:
    """Writes outputs. All methods but `asked` want the guard held."""

    def __init__(
        self,
        journal: Journal,
        extents: Extents,
        directory: Directory,
        fifos: Fifos,
        claims: Claims,
        transfer: Transfer,
        equals: EqualMessages,
        appending: Appending,
    ) -> None:
        self._journal = journal
        self._extents = extents
        self._directory = directory
        self._fifos = fifos
        self._claims = claims
        self._transfer = transfer
        self._equals = equals
        self._appending = appending

    def asked(self, outputs: Sequence[Output]) -> list[AskedOutput]:
        """The outputs, ready to be written. Wants no guard. Raises `HandlerError` for a pipe that cannot be stored."""
        return [
            AskedOutput(
                self._appending.asked([(pipe, messages)], distinct=absent, digests=absent or when is not None)[0],
                max(1, when.due_us or 0) if when else 0,
                absent,
            )
            for pipe, messages, when, absent in outputs
        ]

    def write(self, thread: int, outputs: Sequence[AskedOutput], most: int) -> Written | int:
        """Write the outputs of a batch of this thread. They are no part of their tubes yet. Room is kept for the dead
        letter that each may become. NO_ROOM: there is no room for all of them. AGAIN: `most` more messages of a tube
        came into the table of equal ones, and others are still missing there.
        """
        self._appending.check_open()
        indexed = self._index(outputs, most)
        if not indexed:
            return NO_ROOM if indexed is None else AGAIN
        self._journal.keep(thread)
        at_once, later = self._sorted(outputs)
        messages = [message for its in at_once.values() for message in its]
        messages += [message for part, _ in later for message in part.messages]
        if not messages:
            return NOTHING
        former, written = self._extents.keep_room(messages, _SHARE), None
        try:
            if former is not None:
                written = self._all_written(at_once, later)
        finally:
            if written is None:
                nbytes = record.size_of(len(messages), sum(map(len, messages)))
                self._extents.found_no_room(messages, nbytes, former, _SHARE)
        return NO_ROOM if written is None else written

    def arrived(self, written: Written) -> None:
        """Offer what was written, once its stores are made."""
        if written.deferred:
            self._transfer.settle("")
        for pipe, thread, tube in written.targets:
            self._claims.work_arrived(thread)
            self._appending.help(pipe, tube)

    def _index(self, outputs: Sequence[AskedOutput], most: int) -> bool | None:
        """Put up to `most` messages of each tube into the table of equal ones, where an output must have no equal.
        False: there are more left. None: there is no room.
        """
        pipes = dict.fromkeys(output.part.pipe for output in outputs if output.absent)
        known = [
            self._appending.catch_up(pipe, tube, most, share=_SHARE)
            for pipe in pipes
            for tube in self._directory.tubes(pipe)[1]
        ]
        return None if None in known else all(known)

    def _sorted(self, outputs: Sequence[AskedOutput]) -> tuple[dict[str, list[bytes]], list[tuple[Asked, int]]]:
        """What comes at once, by pipe, and what comes later, with its time. Of outputs that must have no equal only the
        messages that have none, also among the earlier outputs.
        """
        at_once, later = defaultdict[str, list[bytes]](list), list[tuple[Asked, int]]()
        sent = defaultdict[str, set[bytes]](set)
        for part, due_us, absent in outputs:
            before = sent[part.pipe]
            its = self._fresh(part, before) if absent else part
            before.update(its.messages)
            if its.messages and due_us:
                later.append((its, due_us))
            elif its.messages:
                at_once[part.pipe] += its.messages
        return at_once, later

    def _fresh(self, part: Asked, before: set[bytes]) -> Asked:
        messages, digests = self._equals.absent(*part, self._directory.tubes(part.pipe)[1])
        new = [(message, digest) for message, digest in zip(messages, digests, strict=True) if message not in before]
        return Asked(part.pipe, [message for message, _ in new], [digest for _, digest in new])

    def _all_written(self, at_once: dict[str, list[bytes]], later: list[tuple[Asked, int]]) -> Written | None:
        now_us = time.time_ns() // 1000
        targets = self._targets(at_once)
        if targets is None:
            return None
        stores = self._fifos.write_all([(tube, at_once[pipe]) for pipe, _, tube in targets], now_us, _SHARE)
        if len(stores) < len(targets):
            return None
        if targets:
            stores.append(self._journal.moved(at.ACCEPTED, sum(map(len, at_once.values()))))
        if later:
            self._journal.declare_pending()
            waiting = self._transfer.write(later, "", now_us, share=_SHARE)
            if not waiting:
                self._journal.clear_pending()
                for target in targets:
                    self._fifos.chains.sweep(target.tube)
                return None
            stores += waiting
        return Written(stores, targets, deferred=bool(later))

    def _targets(self, at_once: dict[str, list[bytes]]) -> list[Target] | None:
        """The tubes that get messages. None: there is no room for the entry of one of them."""
        targets = list[Target]()
        for pipe in at_once:
            thread, tube = self._directory.tube(pipe)
            if tube == NOT_FOUND:
                try:
                    thread, tube = self._directory.add_tube(pipe, share=_SHARE)
                except DirectoryFull:
                    return None
            if tube == NO_ROOM:
                return None
            self._journal.keep(thread)
            targets.append(Target(pipe, thread, tube))
        return targets
