"""A process is killed before each line of creating, attaching, closing and destroying a segment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from shardq.drivers.shared.storage import SharedStorage
from shardq.errors import SegmentError, SegmentExists, SegmentForeign, SegmentMissing
from shardq.shm.registry import destroy
from tests.faults.kit.points import Line, Step, die_at, lines_of, one_of_each_line, sample
from tests.faults.kit.scene import MIB, PIPE, Naps, check_goes_on, check_whole, no_handlers, run
from tests.support.leaks import segment_name

SAMPLE = 20
Tried = Callable[[str, int], None]


def test_a_creator_that_died_is_replaced_or_its_segment_is_whole(
    random: Random, everything: bool, tried: Tried
) -> None:
    name = a_name()
    points = chosen_of(lines_of(nothing, lambda: created_and_ended(name)), random, everything)
    destroy(name)  # what the recording run left
    for step in points:
        die_at(step, nothing, lambda: created_and_ended(name))
        with told(step):
            check_creatable(name)
            check_no_files(name)
    tried("kill points", len(points))


def test_who_died_attaching_leaves_the_segment_whole(random: Random, everything: bool, tried: Tried) -> None:
    name = filled()
    points = chosen_of(lines_of(nothing, lambda: attached_and_used(name)), random, everything)
    destroy(name)
    for step in points:
        name = filled()
        # This process is not attached now, so the child attaches from nothing.
        die_at(step, nothing, lambda name=name: attached_and_used(name))  # type: ignore[misc]
        with told(step), attached(name) as storage:
            check_survives(storage)
    tried("kill points", len(points))


def test_who_died_closing_leaves_the_segment_whole(random: Random, everything: bool, tried: Tried) -> None:
    with attached(filled()) as storage:
        points = chosen_of(lines_of(lambda: at_work(storage), lambda: run(storage.close())), random, everything)
    for step in points:
        with told(step), attached(filled()) as storage:
            die_at(step, lambda held=storage: at_work(held), lambda held=storage: run(held.close()))  # type: ignore[misc]
            check_survives(storage)
    tried("kill points", len(points))


def test_a_destruction_cut_short_can_be_repeated(random: Random, everything: bool, tried: Tried) -> None:
    with attached(filled()) as storage:
        points = chosen_of(lines_of(lambda: at_work(storage), storage.destroy), random, everything)
    for step in points:
        name = filled()
        storage = SharedStorage.attach(name)
        die_at(step, lambda held=storage: at_work(held), storage.destroy)  # type: ignore[misc]
        with told(step):
            run(storage.close())
            check_attaches_or_says_why(name)
            with suppress(SegmentMissing):
                destroy(name)
            check_no_files(name)
            check_creatable(name)
    tried("kill points", len(points))


def nothing() -> None:
    pass


def a_name() -> str:
    return segment_name()


def created_and_ended(name: str) -> None:
    SharedStorage.create(name, MIB, threads=16)


def attached_and_used(name: str) -> None:
    run(SharedStorage.attach(name).length(PIPE))


def filled() -> str:
    """Name of a segment with one message, that this process is not attached to."""
    name = a_name()
    storage = SharedStorage.create(name, MIB, threads=16)
    assert run(storage.append([(PIPE, [b"zero"])]))
    run(storage.close())
    return name


def at_work(storage: SharedStorage) -> None:
    """The child holds a claim, sleeps, and has its bell open."""
    assert run(storage.claim("app/Job/1"))
    storage.store.doorbell.open()
    storage.store.waiting.lie_down(no_handlers, None)


@contextmanager
def attached(name: str) -> Iterator[SharedStorage]:
    storage = SharedStorage.attach(name)
    Naps(storage.store)
    try:
        yield storage
    finally:
        storage.destroy()


@contextmanager
def told(step: Step) -> Iterator[None]:
    """Name the step in what goes wrong after it."""
    try:
        yield
    except (AssertionError, SegmentError) as problem:
        raise AssertionError(f"after a death at {step}: {type(problem).__name__}: {problem}") from problem


def check_survives(storage: SharedStorage) -> None:
    check_whole(storage.store)
    check_goes_on(storage.store, PIPE, [b"zero"])
    check_whole(storage.store)


def check_creatable(name: str) -> None:
    """A segment of this name can be made, or is there and good."""
    try:
        storage = SharedStorage.create(name, MIB, threads=16)
    except SegmentExists:
        storage = SharedStorage.attach(name)
    check_whole(storage.store)
    check_goes_on(storage.store, PIPE, [])
    storage.destroy()


def check_attaches_or_says_why(name: str) -> None:
    with suppress(SegmentMissing, SegmentForeign):
        run(SharedStorage.attach(name).close())


def check_no_files(name: str) -> None:
    left = [entry.name for entry in Path("/dev/shm").iterdir() if name in entry.name]
    assert not left, f"left behind: {left}"


def chosen_of(lines: list[Line], random: Random, everything: bool) -> list[Step]:
    steps = one_of_each_line(lines, random)
    return steps if everything else sample(steps, SAMPLE, random)
