"""Each trial of an operation finds its scene as it was built, and goes on in the place of the process that built it."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import pytest

from shardq.shm import words as at
from shardq.shm.files.names import bell_paths
from shardq.shm.words import WORD
from tests.faults.kit.acts import die_holding, fill, sleep
from tests.faults.kit.case import BATCH, Operation, minus
from tests.faults.kit.image import rings, state_of
from tests.faults.kit.outcome import Seen
from tests.faults.kit.points import Child, Gate
from tests.faults.kit.scene import KEY, Scene, run
from tests.faults.kit.timings import FAR_US, defer, defer_each, numbered
from tests.faults.kit.trial import Stage, found_by, problems_of, staged
from tests.faults.kit.turns import turn

SCENES = (
    Operation("nothing", lambda there: None),
    Operation("sleeper", lambda there: None, lambda there: [there.append(*BATCH), sleep(there), _ring(there)]),
    Operation("full", lambda there: None, lambda there: [defer(there, b"late"), fill(there)]),
    Operation("supervisor behind the dead", lambda there: None, lambda there: _supervise(there)),
)


@pytest.mark.parametrize("operation", SCENES, ids=str)
def test_each_trial_finds_what_was_built(operation: Operation) -> None:
    with staged(operation) as stage:
        built = _looked(stage, _portrait)
        _looked(stage, _upset)
        assert _looked(stage, _portrait) == built


def test_the_survivor_has_what_the_builder_had() -> None:
    def look(there: Scene, before: Seen) -> list[Any]:
        others = Child(
            lambda: [there.store.delivering.claim(KEY), there.store.supervision.become_supervisor()]
        ).result()
        return [*others, run(there.lock.release(KEY)), there.store.supervision.become_supervisor()]

    with staged(Operation("both", lambda there: None, lambda there: [_supervise(there), there.claim()])) as stage:
        assert _looked(stage, look) == _looked(stage, look) == [0, False, True, True]


def test_trials_beyond_the_last_have_a_new_scene() -> None:
    operation = Operation("pop", lambda there: None, lambda there: there.append(*BATCH))
    with staged(operation, 2) as stage:
        name = stage.scene()[0].name
        assert problems_of(stage, lambda there, before: None) == []
        assert problems_of(stage, lambda there, before: None) == []
        assert stage.scene()[0].name != name


def test_after_a_trial_that_failed_the_scene_is_another_one() -> None:
    def leave_one_at_work(there: Scene, before: Seen) -> None:
        gate = Gate()
        Child(lambda: [there.claim(), gate.wait()])
        gate.reached()

    with staged(Operation("claim", lambda there: there.claim())) as stage:
        name = stage.scene()[0].name
        assert problems_of(stage, lambda there, before: None) == []
        assert stage.scene()[0].name == name
        assert (
            "left at work"
            in found_by(stage, lambda there, before: stage.problems(lambda: leave_one_at_work(there, before)))[0]
        )
        assert stage.scene()[0].name != name


def test_what_is_wrong_in_one_trial_is_not_there_in_the_next() -> None:
    operation = Operation("pop", lambda there: None, lambda there: there.append(*BATCH), effect=minus(2))

    def lose_one(there: Scene, before: Seen) -> None:
        Child(lambda: [there.claim(), there.take(1), there.release()]).end()

    with staged(operation) as stage:
        assert "neither before nor after" in problems_of(stage, lose_one)[0]
        assert problems_of(stage, lambda there, before: None) == []


@pytest.mark.parametrize("act", [lambda s: s.append(b"one"), lambda s: [s.hold(1), turn(s)]], ids=["append", "turn"])
def test_what_was_done_at_another_time_is_the_same(act: Callable[[Scene], object]) -> None:
    with staged(Operation("nothing", lambda there: None, lambda there: there.append(*BATCH))) as stage:
        before = _state_after(stage, lambda there: None)
        assert _state_after(stage, act) == _state_after(stage, act) != before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda s: s.append(b"one"), lambda s: s.append(b"two")),
        (lambda s: defer(s, b"one"), lambda s: defer(s, b"one", due_us=FAR_US + 1)),
        (lambda s: s.hold(1), lambda s: s.hold(2)),
    ],
    ids=["message", "time to come", "count"],
)
def test_what_is_not_the_same_to_a_process_that_enters_is_another_state(
    one: Callable[[Scene], object], other: Callable[[Scene], object]
) -> None:
    with staged(Operation("nothing", lambda there: None, lambda there: there.append(*BATCH))) as stage:
        assert _state_after(stage, one) != _state_after(stage, other)


def _state_after(stage: Stage, act: Callable[[Scene], object]) -> str:
    there, _ = stage.scene()
    Child(lambda: bool(act(there))).end()
    return state_of(there.store.segment)


def _looked(stage: Stage, look: Callable[[Scene, Seen], Any]) -> Any:
    """What a copy of the builder returns."""
    there, before = stage.scene()
    return stage.look(lambda: look(there, before))


def _portrait(there: Scene, before: Seen) -> list[Any]:
    """All that there is, but for which process looks at it."""
    segment, slots = there.store.segment, there.store._slots
    content = bytearray(segment.path.read_bytes())  # reading the mapping would give it memory
    word = slots.word(slots.mine)
    for own in (word + at.SLOT_PID, word + at.SLOT_START_TICKS, at.SUPERVISOR_PID):
        content[own * WORD : (own + 1) * WORD] = bytes(WORD)
    bells = {bell.name: rings(bell) for bell in bell_paths(segment.system_name)}
    return [there.name, blake2b(content).hexdigest(), segment.taken_bytes, segment.semaphore.value, bells]


def _upset(there: Scene, before: Seen) -> None:
    """Change all that can change."""
    store = there.store
    for pipe, messages in there.contents().items():
        if " " not in pipe:
            store.removing.remove(pipe, messages)
    there.append(*numbered(900, 700), pipe="app/Other/1/3")
    defer_each(there, numbered(9), step_us=5)
    fill(there, "app/Other/2/0")
    store.removing.remove("app/Other/1/3", numbered(900, 700)[:800])
    Child(lambda: store.waiting.lie_down(None, None)).end()
    Child(lambda: store.doorbell.open()).end()
    Child(lambda: store._guard.acquire()).end()
    store.doorbell.open()
    store.doorbell.ring(store.slot)


def _ring(there: Scene) -> None:
    there.store.doorbell.ring(there.store.slot)


def _supervise(there: Scene) -> None:
    assert there.store.supervision.become_supervisor()
    assert there.append(*BATCH)
    die_holding(there, 1)
