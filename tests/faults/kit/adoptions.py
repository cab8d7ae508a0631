"""Going on where a process died, and dying of it: each death counts once, also if its finder dies as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from signal import SIGKILL

from shardq.model import Ending
from shardq.shm import words as at
from tests.faults.kit.acts import die_bound, die_holding, fail_alone, sleep, take_up
from tests.faults.kit.case import BATCH, URGENT, Operation, plus, without
from tests.faults.kit.failures import check_limited
from tests.faults.kit.points import Child, Gate
from tests.faults.kit.scene import KEY, PIPE, Scene, everything, run
from tests.support import hands

Act = Callable[[Scene], object]


def adoptions() -> Iterator[Operation]:
    for name, act in (("find", _find), ("lie down beside", _lie_down), ("claim", Scene.claim)):
        yield _adoption(f"{name} the thread of who died with one in hand", act, lambda s: die_holding(s, 1))
        yield Operation(
            f"{name} the thread of who died with several in hand",
            act,
            lambda s: [sleep(s), _add(s), die_holding(s, 2)],
            counted=(0,),
            check=_check_one_by_one,
        )
    yield _adoption(
        "find the thread of who died of what failed before",
        take_up,
        lambda s: [fail_alone(s, 2), die_holding(s, 1)],
    )
    yield _adoption(
        "find the thread of who died with one in hand after others died with several",
        take_up,
        lambda s: [die_holding(s, 2), die_holding(s, 1)],
    )
    yield _adoption(
        "find the thread of who took from two tubes and died",
        _find,
        lambda s: [s.append(b"hurry", b"up", pipe=URGENT), die_holding(s, 1, URGENT, PIPE)],
    )
    yield Operation(
        "find the thread of who was ended on purpose",
        take_up,
        lambda s: [_add(s), _die_excused(s)],
        counted=(0,),
        check=_check_no_idle_deaths,
    )
    yield Operation(
        "find the thread of who died without a batch",
        take_up,
        lambda s: [_add(s), die_bound(s)],
        counted=(0,),
        check=partial(_check_idle_deaths, expected=1),
    )
    yield Operation(
        "claim the thread of who died without a batch",
        Scene.claim,
        lambda s: [_add(s), die_bound(s)],
        counted=(0,),
    )
    yield Operation(
        "remove from the thread of the dead",
        lambda s: run(s.storage.remove(PIPE, b"three")),
        lambda s: [_add(s), die_holding(s, 1)],
        effect=without(b"three"),
        counted=(1,),
    )
    yield Operation(
        "attach in the place of who died with one in hand",
        lambda s: s.append(*BATCH),
        lambda s: [_add(s), die_holding(s, 1)],
        effect=plus(*BATCH),
        counted=(1,),
        check=_check_no_idle_deaths,
        attached=False,
    )
    yield Operation("find a thread whose pause is over", _find, lambda s: [_add(s), _pause_and_end_it(s)])
    yield _adoption("note a death that was watched", _note_and_look, ready=_saw_one_die)
    yield Operation("claim for the first time beside a sleeper", Scene.claim, lambda s: [_add(s), sleep(s)])
    yield _adoption("note how a process ended", _note, lambda s: die_holding(s, 1))
    yield _adoption("excuse who is dead already", _excuse, lambda s: die_holding(s, 1), counted=(0, 1))
    yield Operation("look for deadlines", _look_for_deadlines, lambda s: [_add(s), _watch_deadline(s)], counted=(1,))


def _adoption(
    name: str,
    act: Act,
    death: Act = lambda there: None,
    *,
    ready: Act | None = None,
    counted: tuple[int, ...] = (1,),
) -> Operation:
    """A process died with a single message of a tube in hand: it counts on that message, once, and on nothing else."""
    return Operation(
        name,
        act,
        lambda s: [_add(s), death(s)],
        ready=ready or (lambda there: None),
        counted=counted,
        check=_check_no_idle_deaths if act is not Scene.claim else lambda there: None,
    )


def _add(there: Scene) -> None:
    assert there.append(*BATCH)


def _pause_and_end_it(there: Scene) -> None:
    """The thread rests, and the time for which it was to is over."""
    there.claim()
    assert run(there.lock.release(KEY, 3600.0))
    there.store.segment.words[_thread_word(there) + at.THREAD_NOT_BEFORE_NS] = 1


def _find(there: Scene) -> None:
    assert there.store.waiting.find_work(everything)


def _note_and_look(there: Scene) -> None:
    there.store.waiting.note_deaths()
    _lie_down(there)


def _lie_down(there: Scene) -> None:
    key, _ = there.store.waiting.lie_down(everything, None)
    there.store.waiting.rise(key)


def _die_excused(there: Scene) -> None:
    """Another process is killed with one message in hand, which said before that it is not to blame."""
    gate = Gate()
    child = Child(lambda: [there.hold(1), gate.wait(), None][2])
    gate.reached()
    there.store.supervision.excuse(child.pid)
    child.kill()
    gate.open()


def _saw_one_die(there: Scene) -> None:
    """The acting process watched another, which is dead now; no process has done anything about it."""
    gate, waiting = Gate(), there.store.waiting
    child = Child(lambda: [there.hold(1), gate.wait(), None][2])
    gate.reached()
    waiting.deaths()
    waiting.rise(waiting.lie_down(frozenset(), None)[0])
    child.kill()
    gate.open()


def _note(there: Scene) -> None:
    there.store.supervision.note_death(_pid_of_owner(there), Ending(signal=SIGKILL))


def _excuse(there: Scene) -> None:
    there.store.supervision.excuse(_pid_of_owner(there))


def _watch_deadline(there: Scene) -> None:
    """Another process dies with a message in hand for which it had a time."""

    def live() -> None:
        there.claim()
        run(hands.take(there.storage, [PIPE], 1, there.token, 60.0))

    assert there.store.supervision.become_supervisor()
    Child(live).end()


def _look_for_deadlines(there: Scene) -> None:
    there.store.supervision.deadlines()


def _thread_word(there: Scene) -> int:
    """Where the words of the first thread stand, which is the one that all this is about."""
    return there.store.segment.layout.thread_word(0)


def _pid_of_owner(there: Scene) -> int:
    segment = there.store.segment
    slot = (segment.words[_thread_word(there) + at.THREAD_OWNER] & 0xFFFF) - 1
    return segment.words[segment.layout.slot_word(slot) + at.SLOT_PID]


def _check_one_by_one(there: Scene) -> None:
    check_limited(there, most=1)


def _check_idle_deaths(there: Scene, expected: int) -> None:
    found = there.store.segment.words[_thread_word(there) + at.THREAD_FAILURES]
    assert found == expected, f"{found} deaths without a batch are counted, there were {expected}"


def _check_no_idle_deaths(there: Scene) -> None:
    _check_idle_deaths(there, 0)
