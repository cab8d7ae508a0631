"""Copies of what an application stores, on replicas and on disk: `replicas=` and `fsync=` of a URL.

`WAIT` and `WAITAOF` speak of the last write of their own connection, which does nothing else until they are answered.
So calls that want copies have a connection of their own, and those that were sent while one of these waits share the
next. A call for which too few copies are confirmed is made again: the script finds that it was made before, and writes
that anew, so that the copies of the new write confirm those of the former one.
"""

from __future__ import annotations

import asyncio
from typing import Any

from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.connections.replies import TooFewCopies, meaning
from shardq.drivers.redis.connections.scripts import Script
from shardq.drivers.redis.connections.wire import Disconnected, Wire, packed
from shardq.text.wording import counted

#: Milliseconds after which a server says how many copies there are by then. With `appendfsync everysec` it writes to
#: its disk once a second.
_WAIT_MS = 2000
#: Verbs that change what an application relies on after their return; one that confirms what came from another
#: partition; and the steps of a move: the last one on each partition of the target confirms copies of all that came
#: before it. What the others change at a server that is lost is done again at the next one: a batch whose
#: acknowledgement is lost is handled again.
_LASTING = frozenset(
    (
        *("append", "call_off", "defer", "drop", "hasten", "remove", "repeat", "requeue", "skip", "unwait"),
        "cursor",
        *("arrive", "follow", "leave_for", "settle"),
    )
)


def wants_copies(address: Any, script: Script) -> bool:
    """`address`: of a server, or a cluster."""
    return bool(address.replicas or address.fsync) and script.name in _LASTING


def question(address: Address) -> bytes:
    """The command that waits for the copies."""
    replicas, limit_ms = b"%d" % address.replicas, b"%d" % min(_WAIT_MS, address.answer_s * 500)
    return packed(b"WAITAOF", b"1", replicas, limit_ms) if address.fsync else packed(b"WAIT", replicas, limit_ms)


def check(address: Address, answer: Any) -> None:
    """Raises `TooFewCopies`, and what `meaning` says."""
    if isinstance(answer, Exception):
        raise meaning(answer)
    on_disk, replicas = answer if address.fsync else (0, answer)
    if replicas < address.replicas:
        where = " on disk" if address.fsync else ""
        raise TooFewCopies(f"{replicas} of {counted(address.replicas, 'replica')} confirmed it{where}")
    if address.fsync and not on_disk:
        raise TooFewCopies("the disk of the server does not have it yet")


def did_something(reply: Any) -> bool:
    """Whether a script says that it did what it was asked for."""
    first = reply[0] if isinstance(reply, list) and reply else reply
    return not (isinstance(first, int) and first < 0)


def of(wire: Wire, address: Address) -> Copies:
    """The copies of what is written over this connection."""
    wire.copies = wire.copies or Copies(wire, address)
    found: Copies = wire.copies
    return found


class Copies:
    """The copies of what is written over one connection."""

    def __init__(self, wire: Wire, address: Address) -> None:
        self._wire = wire
        self._question = question(address)
        self._waits = False
        self._next: asyncio.Future[Any] | None = None

    def of_what_was_sent(self) -> asyncio.Future[Any]:
        """What the server says of the copies of all that was sent by now. Others wait for it as well: shield it."""
        if self._next is None:
            loop = asyncio.get_running_loop()
            self._next = loop.create_future()
            if not self._waits:
                self._waits = True
                loop.call_soon(self._ask)  # so that it stands behind all that is sent in this round of the loop
        return self._next

    def _ask(self) -> None:
        asked, self._next = self._next, None
        if asked is None:
            self._waits = False
            return

        def tell(answer: asyncio.Future[Any]) -> None:
            asked.set_result(answer.result())
            self._ask()

        try:
            self._wire.sent(self._question).add_done_callback(tell)
        except Disconnected as error:
            asked.set_result(error)
