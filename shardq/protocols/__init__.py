"""The contract of the drivers: what a storage and a lock promise to everything above them.

Clauses stand by role, and keep their numbers: `tests/contracts/` has a test for each, named after it, and runs it on
every driver. A clause names the promises of the product (P1..P13, see docs/explanation/promises.md) that stand on it.
It holds in memory, in shared memory and on Redis alike; where one of them differs, that stands at its end, in brackets.

The seam speaks of tubes by their pipe name and of messages as `bytes`. A message that was put back in front of its
tube belongs to that tube like the others: how a driver keeps the two apart is its own affair.

Verbs are coroutines because a driver may need the network. Then all of them suspend, and what they return was true at
the server when it answered. Where it does not, the four that wait may suspend: `append_when_room`, `rest`, `wait` and
`wait_for_quiet`. The others suspend only where another process is stopped inside the storage.

Redis: a call whose answer was lost is made again and done once. A storage on one server has one partition unless it was
made with more, so what is said there of partitions does not restrict it; on a cluster it has many. A thread is in one
partition for ever.

`storage`, `pausing` and `auditing` have the clauses S1 and following, `lock` has L1 and following, `moving` has M1 and
following: what the drivers promise that have more than one process; `observer` has O1 and following, for what looks at
them from outside. `serializer` turns requests into messages, and `inside` is what a handler's code sees of the queue
and of its batch.
"""

from __future__ import annotations

from shardq.protocols.auditing import Auditable
from shardq.protocols.deferrals import Deferrals, DeferralsSeen
from shardq.protocols.inside import Emitting, InHand, Registrar
from shardq.protocols.lock import Lock
from shardq.protocols.moving import Movable
from shardq.protocols.observer import Knowing, Observer, Overviewed, Readable
from shardq.protocols.pausing import Pausable
from shardq.protocols.serializer import Serializer
from shardq.protocols.storage import Served, Storage

__all__ = [
    "Auditable",
    "Deferrals",
    "DeferralsSeen",
    "Emitting",
    "InHand",
    "Knowing",
    "Lock",
    "Movable",
    "Observer",
    "Overviewed",
    "Pausable",
    "Readable",
    "Registrar",
    "Serializer",
    "Served",
    "Storage",
]
