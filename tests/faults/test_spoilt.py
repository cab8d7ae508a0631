"""The matrix is worth something: where a piece of the protocol is missing, some death in it shows that."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import pytest

from shardq.shm import actions, layout
from shardq.shm import words as at
from shardq.shm.deferred import due_heap
from shardq.shm.memory import slabs
from shardq.shm.tubes import delivery, fifo, fifo_writer
from shardq.shm.verbs import burying, outputs, recovery
from tests.faults.kit.mutants import is_in_the_source, spoil
from tests.faults.kit.operations import operation_named
from tests.faults.kit.outcome import recorded
from tests.faults.kit.points import Line, Step, steps_in
from tests.faults.kit.trial import Stage, staged
from tests.faults.test_kill_points import problems_after
from tests.support.chance import sample_of_run
from tests.support.lean import LeanProcess

BLAME = (
    "        self._journal.commit("
    "(word + at.TUBE_HANDED, 0), self._journal.moved(word + at.TUBE_ATTEMPTS, 1), *followers)\n"
)
COUNT, TAKE_BACK = "        words[word + at.TUBE_ATTEMPTS] += 1\n", "        words[word + at.TUBE_HANDED] = 0\n"
FOLLOW = "        for place, value in followers:\n            words[place] = value\n"
BURY = "self._journal.commit((place, tail), moved(at.BURIED, 1), (head, sequence + 1), moved(at.HANDLED, 1))\n"
POP = "self._fifos.pop(tube, sequence + 1)\n"
HALF = "self._journal.commit((place, tail), moved(at.BURIED, 1))\n"
REQUEUE = "self._journal.commit(*stores, moved(at.ACCEPTED, 1), letter, moved(at.UNBURIED, 1))\n"
ACKNOWLEDGE = "self._journal.commit((word + at.TUBE_HEAD_SEQUENCE, through), *counted, *others)\n"
BATCH_ALONE = "self._journal.commit((word + at.TUBE_HEAD_SEQUENCE, through), *counted)\n"
OUTPUTS_ALONE = "self._journal.commit(*others)\n"
WRITTEN = "        words[word + at.ACTION_AT_US], words[word + at.ACTION_LENGTH] = at_us, len(told)\n"
SIFT = (
    "            self._journal.commit(\n"
    "                (at.SIFT_RECORD, record),\n"
    "                (at.SIFT_PLACE, place),\n"
    "                (at.SIFT_DUE_US, self._due_us(record)),\n"
    "                (at.SIFT_NEXT, place + 1),\n"
    "            )\n"
)


class Spoilt(NamedTuple):
    """A method with a piece of the protocol missing, and the operation whose deaths show it."""

    name: str
    owner: type
    method: str
    old: str
    new: str
    operation: str
    shows: str
    """What a test reports when a process dies in that operation."""

    def __str__(self) -> str:
        return self.name


SPOILT = (
    Spoilt(
        "popped-before-the-letter-is-there",
        burying.Burying,
        "_bury",
        f"        {BURY}",
        f"        {POP}        {HALF}",
        "bury into an old grave",
        "neither before nor after",
    ),
    Spoilt(
        "letter-is-there-before-the-pop",
        burying.Burying,
        "_bury",
        f"        {BURY}",
        f"        {HALF}        {POP}",
        "bury into an old grave",
        "buried, but",
    ),
    Spoilt(
        "burial-that-does-not-count-as-handled",
        burying.Burying,
        "_bury",
        ", (head, sequence + 1), moved(at.HANDLED, 1))",
        ", (head, sequence + 1))\n        self._words[at.HANDLED] += 1",
        "bury into an old grave",
        "handled, but",
    ),
    Spoilt(
        "letter-stays-when-its-message-is-back",
        burying.Burying,
        "requeue",
        REQUEUE,
        "self._journal.commit(*stores, moved(at.ACCEPTED, 1))\n"
        "                self._fifos.cancel_one(grave_tube, sequence, (at.UNBURIED,))\n",
        "requeue",
        "neither before nor after",
    ),
    Spoilt(
        "requeue-that-counts-its-letter-by-itself",
        burying.Burying,
        "requeue",
        REQUEUE,
        "self._journal.commit(*stores, moved(at.ACCEPTED, 1), letter)\n                self._words[at.UNBURIED] += 1\n",
        "requeue",
        "unburied, but",
    ),
    Spoilt(
        "counted-before-it-is-taken-back",
        delivery.Delivery,
        "_blame",
        BLAME,
        COUNT + TAKE_BACK + FOLLOW,
        "fail of one",
        "2 failures more",
    ),
    Spoilt(
        "taken-back-before-it-is-counted",
        delivery.Delivery,
        "_blame",
        BLAME,
        TAKE_BACK + COUNT + FOLLOW,
        "fail of one",
        "0 failures more",
    ),
    Spoilt(
        "death-counted-by-who-finds-the-dead",
        delivery.Delivery,
        "_blame",
        BLAME,
        COUNT + TAKE_BACK + FOLLOW,
        "find the thread of who died with one in hand",
        "2 failures more",
    ),
    Spoilt(
        "call-whose-tubes-come-one-by-one",
        fifo_writer.FifoWriter,
        "append",
        "            self._journal.commit(*stores, ",
        "            [self._journal.commit(store) for store in stores]\n            self._journal.commit(",
        "append a call to two tubes",
        "2 accepted, 0 handled, but",
    ),
    Spoilt(
        "outputs-that-are-there-before-their-batch-left",
        fifo.Fifos,
        "pop",
        ACKNOWLEDGE,
        f"{OUTPUTS_ALONE}        {BATCH_ALONE}",
        "acknowledge with outputs",
        "neither before nor after",
    ),
    Spoilt(
        "outputs-that-come-after-their-batch-left",
        fifo.Fifos,
        "pop",
        ACKNOWLEDGE,
        f"{BATCH_ALONE}        {OUTPUTS_ALONE}",
        "acknowledge with outputs",
        "neither before nor after",
    ),
    Spoilt(
        "outputs-whose-threads-are-not-declared",
        outputs.Outputs,
        "_targets",
        "            self._journal.keep(thread)\n            self._core",
        "            self._core",
        "acknowledge with outputs for many sleepers",
        "",
    ),
    Spoilt(
        "results-whose-grave-is-not-declared",
        outputs.Outputs,
        "_kept",
        "        self._journal.keep(thread)\n        tail",
        "        tail",
        "acknowledge with the first results that are kept, and with outputs",
        "",
    ),
    Spoilt(
        "deferred-call-whose-records-are-not-noted",
        slabs.Slabs,
        "mend",
        "(*self._journal.coming, self._words[at.PENDING_CELL])",
        "(self._words[at.PENDING_CELL],)",
        "defer a call",
        "",
    ),
    Spoilt(
        "deferred-call-whose-others-are-not-put-in-order",
        due_heap.DueHeap,
        "_sift_others",
        SIFT,
        "            words[at.SIFT_NEXT] = place + 1\n            words[at.SIFT_RECORD] = record\n"
        "            words[at.SIFT_PLACE] = place\n            words[at.SIFT_DUE_US] = self._due_us(record)\n",
        "defer a call to two tubes before others",
        "",
    ),
    Spoilt(
        "action-that-counts-before-it-is-there",
        actions.Actions,
        "add",
        WRITTEN,
        "        words[at.ACTIONS] = number + 1\n" + WRITTEN,
        "record an action in the place of the first",
        "SegmentForeign",
    ),
    Spoilt(
        "action-in-the-place-of-one-that-counts",
        layout.Layout,
        "action_word",
        "number % self.action_places",
        "number % self.actions",
        "record an action in the place of the first",
        "",
    ),
    Spoilt(
        "commit-forgotten-by-the-repair",
        recovery.Recovery,
        "mend",
        "        self._journal.redo()\n",
        f"        self._words[{at.STORES}] = 0\n",
        "requeue",
        "accepted,",
    ),
)


#: Where the pieces are that are missing: their lines are tried first.
CHANGING = (
    *("shm/tubes/delivery.py", "shm/tubes/claims.py", "shm/deferred/due_heap.py", "shm/journal.py"),
    *("shm/verbs/burying.py", "shm/actions.py"),
)
NOWHERE = Step("", 0, 1)
#: How many a sampled run tries.
SAMPLE = 4


def test_each_lacks_something_that_is_in_the_source() -> None:
    """Also those that a sampled run does not try."""
    assert [spoilt.name for spoilt in SPOILT if not is_in_the_source(spoilt.owner, spoilt.old)] == []


@pytest.mark.parametrize("spoilt", sample_of_run(SPOILT, SAMPLE), ids=str)
def test_spoilt_store_is_caught(spoilt: Spoilt, lean: LeanProcess) -> None:
    lean.call(catch, spoilt.name)


def catch(name: str) -> None:
    """In a process of its own: what is spoilt stays so."""
    spoilt = next(spoilt for spoilt in SPOILT if spoilt.name == name)
    spoil(spoilt.owner, spoilt.method, spoilt.old, spoilt.new)
    with staged(operation_named(spoilt.operation)) as stage:
        assert not problems_after(stage, NOWHERE), "it is good for nothing even without a death"
        assert any(spoilt.shows in problem for problem in _problems(stage, spoilt)), f"{spoilt} passes for good"


def _problems(stage: Stage, spoilt: Spoilt) -> Iterator[str]:
    """What is wrong after deaths: first in the spoilt method, then at other lines that change something."""
    recording: list[Line] = recorded.__wrapped__(stage.operation)  # not that of the good one: its lines are others
    here = set(steps_in(recording, spoilt.owner, spoilt.method))

    def elsewhere(step: Step) -> tuple[bool, bool]:
        return step not in here, step.file not in CHANGING

    steps = chain(*(line.steps() for line in recording))
    for step in sorted(steps, key=lambda step: (elsewhere(step), step)):
        yield from problems_after(stage, step)
