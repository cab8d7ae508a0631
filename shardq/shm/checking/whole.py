"""Whether a segment is whole: all looks, and whether they agree."""

from __future__ import annotations

from shardq.shm import words as at
from shardq.shm.actions import Actions
from shardq.shm.checking.equals import Equals
from shardq.shm.checking.fifos import Fifos
from shardq.shm.checking.look import Look, Moment
from shardq.shm.checking.pending import Pending
from shardq.shm.checking.threads import Threads
from shardq.shm.segment import Segment
from shardq.text.wording import counted

_ZERO_AT_REST = {
    "intent on a thread": at.INTENT_THREAD,
    "intents on other threads": at.TOUCHED,
    "intent on a tube": at.INTENT_TUBE,
    "commit under way": at.STORES,
    "intent on what waits for its time": at.INTENT_PENDING,
    "memory of a pending record": at.PENDING_CELL,
    "heap being put in order": at.SIFT_RECORD,
}


def wrongs(segment: Segment, moment: Moment) -> list[str]:
    """What is wrong with a segment in which no process is at work, a line each."""
    totals, threads, fifos = Look(segment), Threads(segment), Fifos(segment)
    pending, equals = Pending(segment), Equals(segment)
    for what, word in _ZERO_AT_REST.items():
        totals.expect(segment.words[word] == 0, f"{what}: {segment.words[word]:#x}")
    with totals.noting("the actions of operators"):
        Actions(segment).last(segment.layout.actions)
    with totals.noting("the rest cannot be read"):
        linked = threads.linked()
        graves = {thread for thread in linked if threads.is_grave(thread)}
        queued = {
            thread: sum(fifos.check(tube, grave=thread in graves) for tube in tubes) for thread, tubes in linked.items()
        }
        threads.check_states(queued, moment)
        records = pending.records()
        fifos.check_extents(pending.owners)
        dead = sum(queued[thread] for thread in graves if threads.has_letters(thread))
        _check_totals(totals, sum(queued[thread] for thread in linked.keys() - graves), dead)
        tubes = (tube for thread, its in linked.items() if thread not in graves for tube in its)
        equals.check(records, {tube: threads.pipe_of(tube) for tube in tubes})
    return [wrong for look in (totals, threads, fifos, pending, equals) for wrong in look.wrongs]


def _check_totals(look: Look, queued: int, dead: int) -> None:
    accepted, handled, buried, unburied, evicted = (
        look.words[word] for word in (at.ACCEPTED, at.HANDLED, at.BURIED, at.UNBURIED, at.EVICTED)
    )
    look.expect(accepted - handled == queued, f"{accepted} accepted, {handled} handled, but {queued} queued")
    look.expect(buried - unburied == dead, f"{buried} buried, {unburied} unburied, but {counted(dead, 'dead letter')}")
    look.expect(buried <= handled, f"{buried} buried, but {handled} handled")
    look.expect(evicted <= unburied, f"{evicted} evicted, but {unburied} unburied")
