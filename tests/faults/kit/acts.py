"""What processes of the matrix do to get a segment into a state, or to go on from one."""

from __future__ import annotations

from tests.faults.kit.points import Child
from tests.faults.kit.scene import KEY, PIPE, Scene, everything, no_handlers, run, run_waiting
from tests.support import hands


def fill(there: Scene, pipe: str = PIPE) -> None:
    """Append until nothing goes in any more."""
    for size in (64 << 10, 4 << 10, 256):
        while there.store.appending.append([(pipe, [b"f" * size])]):
            pass


def sleep(there: Scene) -> None:
    """The survivor lies asleep, waits for room and for quiet, all at once."""
    there.store.doorbell.open()
    there.store.waiting.lie_down(no_handlers, None)
    there.store.waiting.await_room()
    there.store.waiting.quiet()


def nap(there: Scene) -> None:
    """The survivor lies asleep until there is work for it."""
    there.store.doorbell.open()
    there.store.waiting.lie_down(everything, None)


def take_up(there: Scene) -> None:
    """Wait for work, which there is."""
    assert _wait(there) == KEY


def wait_in_vain(there: Scene) -> None:
    assert _wait(there) is None


def die_holding(there: Scene, count: int, *pipes: str, asleep: bool = False) -> None:
    """Another process dies with so many messages of each of these tubes in hand, and it may be asleep then."""

    def live() -> None:
        there.claim()
        for pipe in pipes or (PIPE,):
            assert run(hands.take(there.storage, [pipe], count, there.token)).count == count
        if asleep:
            there.store.waiting.lie_down(no_handlers, None)

    Child(live).end()


def die_bound(there: Scene) -> None:
    """Another process dies that has bound the thread and nothing in hand."""
    Child(there.claim).end()


def die_inside(there: Scene) -> None:
    """Another process dies inside the guard."""
    Child(there.store.begin_section).end()


def die_with_token(there: Scene) -> None:
    """Another process dies that has the guard's token, and has not said so yet."""
    Child(lambda: there.store.segment.semaphore.acquire(0)).end()


def fail_alone(there: Scene, times: int) -> None:
    """The message at the head fails so often."""
    for _ in range(times):
        there.hold(1)
        assert run(hands.fail(there.storage, PIPE, there.token))
        there.release()


def bury_each(there: Scene, *letters: bytes) -> None:
    """Letters for messages that were in no other tube."""
    for letter in letters:
        assert there.append(b"gone")
        there.hold(1)
        assert there.bury(letter)
        there.release()


def _wait(there: Scene) -> str | None:
    return run_waiting(lambda: there.storage.wait(everything, 0.001))
