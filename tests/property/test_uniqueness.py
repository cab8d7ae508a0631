"""Several processes at once: nothing is there twice that must not be, and what waits comes in the order of its time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from tests.faults.kit.points import Child
from tests.faults.kit.scene import KEY, PIPE, Scene, check_whole, run, scene
from tests.support import hands
from tests.support.listing import listed

PRODUCERS = 4
CALLS = 250
#: So many different messages, so that the producers meet all the time.
DIFFERENT = 60
FAR_US, LATEST_US = 1 << 52, 1 << 62


@pytest.fixture
def there() -> Iterator[Scene]:
    with scene() as made:
        yield made


@pytest.mark.parametrize("deferred", [False, True], ids=["at-once", "also-deferred"])
@pytest.mark.parametrize("first", [0, 3000], ids=["new", "behind-plain-ones"])
def test_an_equal_message_is_accepted_again_only_after_it_was_acknowledged(
    there: Scene, deferred: bool, first: int
) -> None:
    plain = [b"plain %d" % n for n in range(first)]
    assert not first or there.append(*plain)
    producers = [Child(lambda n=n: _produce(there, Random(n), deferred)) for n in range(PRODUCERS)]  # type: ignore[misc]

    handled = _handle(there, producers)

    accepted = sum((Counter(producer.result()) for producer in producers), Counter[str]())
    handled += _handle(there, [])
    assert handled == accepted + Counter(message.decode() for message in plain)
    assert there.store.appending.append_absent([(PIPE, [message.encode() for message in handled])]) == len(handled)
    check_whole(there.store)


def _produce(there: Scene, random: Random, deferred: bool) -> list[str]:
    """What was accepted, by appending one message at a time: that tells which."""
    accepted = []
    for _ in range(CALLS):
        message = b"message %d" % random.randrange(DIFFERENT)
        due_us = random.choice([0, 0, 1]) if deferred else 0
        if there.store.appending.append_absent([(PIPE, [message])], due_us=due_us):
            accepted.append(message.decode())
    return accepted


def _handle(there: Scene, producers: list[Child]) -> Counter[str]:
    """Acknowledge a part of what there is until the producers are done, and then all."""
    handled, random = Counter[str](), Random(7)
    there.claim()
    while True:
        busy = any(not producer.ended() for producer in producers)
        there.store.deferring.promote(LATEST_US)
        held = there.store.reading.read(PIPE, 1 << 30).messages
        assert len(set(held)) == len(held), "two equal messages in one tube"
        batch = hands.take(
            there.store.delivering, [PIPE], random.randint(1, 10 * DIFFERENT) if busy else 1 << 30, there.token
        )
        hands.pop(there.store.delivering, PIPE, batch.through, there.token)
        handled.update(message.decode() for message in batch.messages)
        if not busy and not batch.count and not there.store.inspection.counts().deferred:
            there.release()
            return handled


def test_sets_that_overlap_are_stored_once(there: Scene) -> None:
    """Each call takes those that are new, and all calls together each message once."""

    def produce(seed: int) -> int:
        random, accepted = Random(seed), 0
        for _ in range(40):
            some = [b"%d" % random.randrange(2000) for _ in range(200)]
            accepted += there.store.appending.append_absent([(PIPE, some)]) or 0
        return accepted

    producers = [Child(lambda n=n: produce(n)) for n in range(PRODUCERS)]  # type: ignore[misc]
    accepted = sum(producer.result() for producer in producers)

    held = there.store.reading.read(PIPE, 1 << 30).messages
    assert len(held) == len(set(held)) == accepted
    check_whole(there.store)


def test_what_several_processes_defer_comes_in_the_order_of_its_times(there: Scene) -> None:
    """Of equal times each process's own come in its own order. Several promote at the same time."""

    def produce(who: int) -> None:
        random = Random(who)
        for n in range(CALLS):
            due_us = random.choice([5, 50, random.randrange(1, 1000)])
            assert there.store.deferring.defer([(PIPE, [b"%d %d %d" % (due_us, who, n)])], due_us)

    def promote() -> None:
        while there.store.inspection.counts().deferred:
            there.store.deferring.promote(LATEST_US)

    for child in [Child(lambda n=n: produce(n)) for n in range(PRODUCERS)]:  # type: ignore[misc]
        child.end()
    check_whole(there.store)
    for child in [Child(promote) for _ in range(3)]:
        child.end()

    came = [tuple(map(int, message.split())) for message in there.store.reading.read(PIPE, 1 << 30).messages]
    assert len(came) == PRODUCERS * CALLS
    assert [due_us for due_us, _, _ in came] == sorted(due_us for due_us, _, _ in came)
    for who in range(PRODUCERS):
        own = [(due_us, n) for due_us, by, n in came if by == who]
        assert own == sorted(own)
    check_whole(there.store)


def test_a_time_comes_once_though_several_promote(there: Scene) -> None:
    messages = [b"%d" % n for n in range(30)]
    for message in messages:
        assert there.store.deferring.repeat([(PIPE, [message])], "every 3153600000", 1000)

    for child in [Child(lambda: run(there.storage.promote())) for _ in range(4)]:
        child.end()

    assert there.store.reading.read(PIPE, 1 << 30).messages == messages
    assert len(listed(there.store.deferring.scheduled)) == len(messages)
    assert run(there.lock.acquire(KEY))
    check_whole(there.store)
