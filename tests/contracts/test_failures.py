"""Taking work and failing: S18 and S19 of `shardq.protocols.Storage`, and what S5 and S8 say of `take`, `fail`,
`give_back` and `bury`, on every driver and both event loops.
"""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from shardq.errors import FencedError
from shardq.model import EMPTY, Batch, Counts, Ending, Failed, Hand, dead_pipe
from shardq.protocols import Lock, Storage
from tests.contracts.kit.holder import hold, holding
from tests.contracts.test_storage import KEY, OTHER, OTHER_KEY, PIPE, claimed, contents, drain, everything, numbered
from tests.support import hands
from tests.support.clock import now_us
from tests.support.drivers import Backend, Driver, tell_of_death
from tests.support.tasks import LIMIT_S, NEVER_S

GRAVE = dead_pipe("app.jobs/Resize")

#: Most a worker takes at a time.
MANY = 128


async def sizes_until_empty(storage: Storage, token: int, limit: int = MANY) -> list[int]:
    """Handle all there is without failures; returns how large the batches were."""
    sizes = []
    while (batch := await hands.take(storage, [PIPE], limit, token)).count:
        assert batch.failed is None
        sizes.append(batch.count)
        await hands.pop(storage, PIPE, batch.through, token)
    return sizes


async def failed_alone(storage: Storage, token: int, times: int = 1) -> Failed:
    """Let the message at the head fail so often, alone; returns its failures."""
    for _ in range(times):
        assert (await hands.take(storage, [PIPE], 1, token)).count == 1
        await hands.fail(storage, PIPE, token)
    failed = (await hands.take(storage, [PIPE], 1, token)).failed
    assert failed is not None
    return failed


async def failed(storage: Storage, token: int, batch: Batch) -> int:
    """Have the batch fail as a worker does: a message that was alone is counted, of several a half comes next."""
    hand = Hand(KEY, token, batch)
    if batch.count == 1:
        return (await storage.fail(hand)).attempts
    await storage.give_back(hand, batch.count // 2)
    return 0


# S5


async def test_S5_take_reads_the_first_tube_that_has_any(storage: Storage, lock: Lock) -> None:
    pipes = [f"{KEY}/{priority}" for priority in (5, 0, 9)]
    token = await claimed(lock)
    await storage.append([(pipes[2], [b"last"])])
    assert (await hands.take(storage, pipes, MANY, token)).messages == [b"last"]

    await storage.append([(pipes[1], [b"second"])])
    assert (await hands.take(storage, pipes, MANY, token)).messages == [b"second"]

    await storage.append([(pipes[0], [b"first"])])
    assert (await hands.take(storage, pipes, MANY, token)).messages == [b"first"]


async def test_S5_a_batch_names_the_tube_it_was_taken_from(storage: Storage, lock: Lock) -> None:
    await storage.append([(f"{KEY}/1", [b"message"])])
    token = await claimed(lock)

    batch = await hands.take(storage, [PIPE, f"{KEY}/1"], MANY, token)

    assert batch.pipe == f"{KEY}/1"


@pytest.mark.parametrize("limit", [1, 3, 4, 7, 100])
async def test_S5_take_reads_what_range_reads(storage: Storage, lock: Lock, limit: int) -> None:
    for start in range(0, 9, 3):
        await storage.append([(PIPE, numbered(3, start))])
    token = await claimed(lock)

    looked, taken = await storage.range(PIPE, limit), await hands.take(storage, [PIPE], limit, token)

    assert taken.messages == looked.messages == numbered(min(limit, 9))
    assert (taken.sequence, taken.through) == (looked.sequence, looked.through)


async def test_S5_what_is_in_front_is_read_and_taken_first(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(2))])
    await hands.put_in_front(storage, PIPE, b"urgent", b"too")
    token = await claimed(lock)

    looked = await storage.range(PIPE, MANY)
    assert looked.messages == [b"urgent", b"too", *numbered(2)]
    assert len(looked.numbers) == 4
    assert await contents(storage, PIPE) == looked.messages
    assert (await storage.range(PIPE, 1)).messages == [b"urgent"]
    assert (await storage.range(PIPE, 3)).messages == [b"urgent", b"too", b"message-0"]
    batch = await hands.take(storage, [PIPE], MANY, token)

    assert (batch.pipe, batch.messages) == (PIPE, [b"urgent", b"too"])


async def test_S5_in_front_of_a_lower_priority_is_behind_a_higher_one(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(1))])
    await hands.put_in_front(storage, f"{KEY}/1", b"urgent")
    token = await claimed(lock)

    assert (await hands.take(storage, [PIPE, f"{KEY}/1"], MANY, token)).messages == numbered(1)
    assert (await hands.take(storage, [f"{KEY}/1", PIPE], MANY, token)).messages == [b"urgent"]


async def test_S5_a_priority_that_the_terms_do_not_list_is_not_looked_into(storage: Storage, lock: Lock) -> None:
    await storage.append([(f"{KEY}/1", [b"message"])])
    token = await claimed(lock)

    assert (await hands.take(storage, [PIPE, f"{KEY}/2"], MANY, token)).count == 0
    assert (await hands.take(storage, [PIPE, f"{KEY}/2", f"{KEY}/1"], MANY, token)).pipe == f"{KEY}/1"


async def test_S5_a_priority_may_be_any_integer_of_64_bits(storage: Storage, lock: Lock) -> None:
    pipes = [f"{KEY}/{priority}" for priority in (-(1 << 63), -(1 << 53) - 1, 1 << 53, (1 << 53) + 1, (1 << 63) - 1)]
    await storage.append([(pipe, [pipe.encode()]) for pipe in pipes])
    token = await claimed(lock)

    for pipe in pipes:
        batch = await hands.take(storage, pipes, MANY, token)
        assert (batch.pipe, batch.messages) == (pipe, [pipe.encode()])
        await storage.pop(Hand(KEY, token, batch), 1)


async def test_S5_only_what_take_returned_is_handed_out(storage: Storage, lock: Lock) -> None:
    await hands.put_in_front(storage, PIPE, b"x", b"x")
    await storage.append([(PIPE, [b"a", b"x"])])
    token = await claimed(lock)
    assert (await hands.take(storage, [PIPE], 1, token)).count == 1

    assert await storage.remove(PIPE, b"x") == 2

    assert await contents(storage, PIPE) == [b"x", b"a"]


async def test_S5_taking_nothing_leaves_nothing_behind(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(2))])
    token = await claimed(lock)

    assert (await hands.take(storage, [PIPE], 0, token)).count == 0
    assert (await hands.take(storage, [f"{KEY}/1"], MANY, token)).count == 0

    elsewhere = await storage.range(OTHER, MANY)
    assert (elsewhere.count, elsewhere.pipe, elsewhere.failed) == (0, "", None)
    assert (await hands.fail(storage, PIPE, token)).attempts == 0


async def test_S5_a_batch_knows_the_numbers_of_its_messages_over_gaps(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"x", b"a", b"x", b"x", b"b", b"c", b"x"])])
    first = (await storage.range(PIPE, 1)).sequence
    await storage.remove(PIPE, b"x")
    token = await claimed(lock)

    batch = await hands.take(storage, [PIPE], MANY, token)

    assert batch.messages == [b"a", b"b", b"c"]
    assert list(batch.sequences or ()) == [first + 1, first + 4, first + 5]
    assert [batch.through_first(count) for count in range(1, 4)] == [first + 2, first + 5, first + 6]
    assert batch.first(2).messages == [b"a", b"b"]
    await hands.pop(storage, PIPE, batch.through_first(2), token)
    assert await contents(storage, PIPE) == [b"c"]


async def test_S5_the_first_part_of_a_batch_is_a_batch(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(8))])
    token = await claimed(lock)
    await hands.pop(storage, PIPE, (await hands.take(storage, [PIPE], 3, token)).through, token)

    batch = await hands.take(storage, [PIPE], MANY, token)
    part = batch.first(2)

    assert (part.messages, part.payload) == (numbered(2, 3), b"".join(numbered(2, 3)))
    assert (part.sequence, part.through, part.pipe) == (batch.sequence, batch.sequence + 2, PIPE)


async def test_S5_a_batch_says_when_it_was_taken(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(1))])
    token = await claimed(lock)

    before_us = await now_us(storage)
    batch = await hands.take(storage, [PIPE], 1, token)

    assert before_us <= batch.taken_us <= await now_us(storage)


# S8

Verb = Callable[[Storage, int], Awaitable[object]]


async def _take(storage: Storage, token: int) -> object:
    return await hands.take(storage, [PIPE], MANY, token)


async def _fail(storage: Storage, token: int) -> object:
    return await hands.fail(storage, PIPE, token)


async def _bury(storage: Storage, token: int) -> object:
    return await hands.bury(storage, PIPE, (await storage.range(PIPE, 1)).sequence, token, GRAVE, b"letter")


async def _give_back(storage: Storage, token: int) -> object:
    return await hands.give_back(storage, PIPE, token, 1)


async def _pop(storage: Storage, token: int) -> object:
    return await hands.pop(storage, PIPE, (await storage.range(PIPE, 1)).through, token)


async def _pop_nothing(storage: Storage, token: int) -> object:
    return await storage.pop(Hand(KEY, token, EMPTY), 0)


async def _turn(storage: Storage, token: int) -> object:
    return await storage.turn(Hand(KEY, token, await storage.range(PIPE, 1)), everything, {})


VERBS = [_take, _pop, _pop_nothing, _turn, _fail, _give_back, _bury]
every_verb = pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)


@every_verb
async def test_S8_a_stale_token_changes_nothing(storage: Storage, lock: Lock, verb: Verb) -> None:
    await storage.append([(PIPE, numbered(2))])
    late = await claimed(lock)
    await hands.take(storage, [PIPE], 1, late)
    await lock.release(KEY)

    with pytest.raises(FencedError):
        await verb(storage, late)
    current = await claimed(lock)
    with pytest.raises(FencedError):
        await verb(storage, late)

    assert await storage.backlog() == Counts(2, 0)
    assert await storage.graves() == []
    batch = await hands.take(storage, [PIPE], MANY, current)
    assert (batch.messages, batch.failed) == (numbered(2), None)


@every_verb
async def test_S8_the_batch_of_the_current_holder_is_not_failed_by_another_token(
    storage: Storage, lock: Lock, verb: Verb
) -> None:
    await storage.append([(PIPE, numbered(2))])
    token, other = await claimed(lock), await claimed(lock, OTHER_KEY)
    assert (await hands.take(storage, [PIPE], 1, token)).count == 1

    with pytest.raises(FencedError):
        await verb(storage, other)

    assert await storage.remove(PIPE, *numbered(2)) == 1  # the other one is in hand still
    assert (await hands.fail(storage, PIPE, token)).attempts == 1


@every_verb
@pytest.mark.parametrize("token", [0, 4711])
async def test_S8_without_a_claim_nothing_is_taken_failed_or_buried(storage: Storage, verb: Verb, token: int) -> None:
    await storage.append([(PIPE, numbered(2))])

    with pytest.raises(FencedError):
        await verb(storage, token)

    assert await contents(storage, PIPE) == numbered(2)
    assert await storage.backlog() == Counts(2, 0)


# S18


@pytest.mark.parametrize("at_most", [1, 2, 50, 127, 128, 200])
async def test_S18_of_what_is_given_back_so_many_are_handed_out(storage: Storage, lock: Lock, at_most: int) -> None:
    await storage.append([(PIPE, numbered(200))])
    token = await claimed(lock)
    hand = Hand(KEY, token, await hands.take(storage, [PIPE], MANY, token))

    await storage.give_back(hand, at_most)

    batch = await hands.take(storage, [PIPE], MANY, token)
    assert (batch.messages, batch.failed) == (numbered(min(at_most, MANY)), None)


@pytest.mark.parametrize("count", [2, 3, 128])
async def test_S18_several_that_failed_are_handed_out_one_by_one(storage: Storage, lock: Lock, count: int) -> None:
    await storage.append([(PIPE, numbered(200))])
    token = await claimed(lock)
    hand = Hand(KEY, token, await hands.take(storage, [PIPE], count, token))

    assert (await storage.fail(hand)).attempts == 0

    sizes = await sizes_until_empty(storage, token)
    assert sizes[: count + 1] == [*[1] * count, min(MANY, 200 - count)]


async def test_S18_batches_that_fail_again_and_again_shrink_to_one(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(128))])
    token = await claimed(lock)
    sizes = []

    while (batch := await hands.take(storage, [PIPE], MANY, token)).count > 1:
        sizes.append(batch.count)
        assert batch.failed is None
        assert await failed(storage, token, batch) == 0

    assert sizes == [128, 64, 32, 16, 8, 4, 2]


async def test_S18_batches_stay_small_until_all_that_failed_together_left(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(8))])
    token = await claimed(lock)
    await failed(storage, token, await hands.take(storage, [PIPE], 8, token))
    await storage.append([(PIPE, numbered(100, 8))])

    sizes = await sizes_until_empty(storage, token)

    small = sizes[:-1]
    assert all(size <= 4 for size in small)
    assert sum(small) >= 8
    assert sizes[-1] > 4


async def test_S18_another_worker_goes_on_with_the_smaller_batches(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(8))])
    token = await claimed(lock)
    await failed(storage, token, await hands.take(storage, [PIPE], 8, token))
    await lock.release(KEY)

    token = await claimed(lock)

    assert (await hands.take(storage, [PIPE], 8, token)).count <= 4


class Hunt(NamedTuple):
    """What came of handling a tube with one message that always fails."""

    done: list[bytes]
    handed_out: Counter[bytes]
    failed: dict[bytes, list[int]]
    """What `fail` returned for messages that stood alone."""
    blamed: set[bytes]
    """Messages that came with failures."""


async def hunt(storage: Storage, token: int, culprit: bytes, attempts: int) -> Hunt:
    """Handle a tube to its end, as a worker does; what failed so often alone is given up."""
    found = Hunt([], Counter(), {}, set())
    while (batch := await hands.take(storage, [PIPE], MANY, token)).count:
        assert found.handed_out.total() < 100 * MANY, "the culprit is never alone"
        found.handed_out.update(batch.messages)
        if batch.failed:
            found.blamed.update(batch.messages)
        if culprit in batch.messages:
            failures = await failed(storage, token, batch)
            if batch.count == 1:
                found.failed.setdefault(batch.messages[0], []).append(failures)
            if failures < attempts:
                continue
        else:
            found.done.extend(batch.messages)
        await hands.pop(storage, PIPE, batch.through, token)
    return found


@pytest.mark.parametrize("place", [0, 1, 42, 63, 64, 126, 127])
async def test_S18_the_culprit_of_128_is_found_wherever_it_stands(storage: Storage, lock: Lock, place: int) -> None:
    messages = numbered(128)
    await storage.append([(PIPE, messages)])
    culprit = messages.pop(place)

    found = await hunt(storage, await claimed(lock), culprit, attempts=3)

    assert found.failed == {culprit: [1, 2, 3]}
    assert found.blamed == {culprit}
    assert found.done == messages
    assert max(found.handed_out[message] for message in messages) <= 8


@pytest.mark.parametrize("place", [0, 50, 99])
async def test_S18_the_culprit_is_found_among_messages_with_gaps(storage: Storage, lock: Lock, place: int) -> None:
    messages = numbered(100)
    for message in messages:
        await storage.append([(PIPE, [b"x", message, b"x", b"x"])])
    await storage.remove(PIPE, b"x")
    culprit = messages.pop(place)

    found = await hunt(storage, await claimed(lock), culprit, attempts=2)

    assert found.failed == {culprit: [1, 2]}
    assert found.done == messages


async def test_S18_of_messages_with_gaps_so_many_are_handed_out_next(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"a", b"x", b"x", b"x", b"x", b"x", b"x", b"b"])])
    await storage.remove(PIPE, b"x")
    token = await claimed(lock)
    batch = await hands.take(storage, [PIPE], MANY, token)
    assert batch.count == 2

    await failed(storage, token, batch)

    assert (await hands.take(storage, [PIPE], MANY, token)).count == 1


async def test_S18_a_message_that_fails_alone_is_counted(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(3))])
    token = await claimed(lock)

    for attempts in (1, 2, 3):
        assert (await hands.take(storage, [PIPE], 1, token)).count == 1
        assert (await hands.fail(storage, PIPE, token)).attempts == attempts

    failed = (await hands.take(storage, [PIPE], 1, token)).failed
    assert failed is not None
    assert (failed.attempts, failed.ending) == (3, None)


async def test_S18_what_failed_alone_is_handed_out_alone(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(3))])
    token = await claimed(lock)
    await failed_alone(storage, token)
    await storage.append([(PIPE, numbered(100, 3))])

    for _ in range(3):
        batch = await hands.take(storage, [PIPE], MANY, token)
        assert batch.messages == [b"message-0"]
        await hands.fail(storage, PIPE, token)


async def test_S18_failures_tell_when_they_were(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(1))])
    token = await claimed(lock)
    before_us = time.time_ns() // 1000

    first = await failed_alone(storage, token)
    second = await failed_alone(storage, token)

    assert before_us <= first.first_us == first.last_us <= second.last_us <= time.time_ns() // 1000
    assert second.first_us == first.first_us
    assert second.attempts == 2


async def test_S18_failures_end_with_their_message(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(5))])
    token = await claimed(lock)
    await failed_alone(storage, token, 4)

    await hands.pop(storage, PIPE, (await hands.take(storage, [PIPE], 1, token)).through, token)

    batch = await hands.take(storage, [PIPE], 1, token)
    assert (batch.messages, batch.failed) == ([b"message-1"], None)
    assert (await hands.fail(storage, PIPE, token)).attempts == 1


async def test_S18_failures_end_with_a_message_that_is_removed(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(3))])
    token = await claimed(lock)
    await failed_alone(storage, token, 2)
    await lock.release(KEY)

    assert await storage.remove(PIPE, b"message-0") == 1

    batch = await hands.take(storage, [PIPE], MANY, await claimed(lock))
    assert (batch.messages, batch.failed) == (numbered(2, 1), None)


async def test_S18_failures_end_with_a_tube_that_ran_empty(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(1))])
    token = await claimed(lock)
    await failed_alone(storage, token, 2)
    await lock.release(KEY)
    await storage.remove(PIPE, b"message-0")

    for pipe in (PIPE, OTHER):
        await storage.append([(pipe, numbered(3))])

    for key in (KEY, OTHER_KEY):
        batch = await hands.take(storage, [f"{key}/0"], MANY, await claimed(lock, key))
        assert (batch.count, batch.failed) == (3, None)


async def test_S18_removing_others_leaves_the_failures(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"culprit", b"x", b"b", b"x"])])
    token = await claimed(lock)
    await failed_alone(storage, token, 2)
    await lock.release(KEY)

    await storage.remove(PIPE, b"x")

    token = await claimed(lock)
    assert (await failed_alone(storage, token)).attempts == 3
    await hands.pop(storage, PIPE, (await hands.take(storage, [PIPE], 1, token)).through, token)
    assert await contents(storage, PIPE) == [b"b"]


async def test_S18_failures_last_beyond_the_claim(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(3))])
    for attempts in (1, 2, 3):
        token = await claimed(lock)
        assert (await failed_alone(storage, token)).attempts == attempts
        await lock.release(KEY)


async def test_S18_what_is_released_has_not_failed(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(3))])
    for limit in (1, MANY, 1):
        await hands.take(storage, [PIPE], limit, await claimed(lock))
        await lock.release(KEY)

    batch = await hands.take(storage, [PIPE], MANY, await claimed(lock))
    assert (batch.count, batch.failed) == (3, None)


async def test_S18_a_single_message_that_is_given_back_is_not_counted(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(3))])
    token = await claimed(lock)
    await hands.take(storage, [PIPE], 1, token)

    await hands.give_back(storage, PIPE, token, 1)

    assert (await hands.take(storage, [PIPE], 1, token)).failed is None
    assert (await hands.fail(storage, PIPE, token)).attempts == 1


async def test_S18_of_what_is_given_back_earlier_failures_stay(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(3))])
    token = await claimed(lock)
    before = await failed_alone(storage, token, 2)

    await hands.give_back(storage, PIPE, token, 1)

    assert (await hands.take(storage, [PIPE], MANY, token)).failed == before
    assert (await hands.fail(storage, PIPE, token)).attempts == 3


async def test_S18_failing_again_without_taking_changes_nothing(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(8))])
    token = await claimed(lock)
    await failed(storage, token, await hands.take(storage, [PIPE], 8, token))

    assert (await hands.fail(storage, PIPE, token)).attempts == 0
    await hands.give_back(storage, PIPE, token, 1)
    assert (await hands.take(storage, [PIPE], 8, token)).count == 4

    await hands.pop(storage, PIPE, (await hands.take(storage, [PIPE], 4, token)).through, token)
    await failed_alone(storage, token)
    await hands.fail(storage, PIPE, token)
    assert (await hands.fail(storage, PIPE, token)).attempts == 0
    its = (await hands.take(storage, [PIPE], 8, token)).failed
    assert its is not None
    assert its.attempts == 2


async def test_S18_nothing_fails_where_nothing_was_taken(storage: Storage, lock: Lock) -> None:
    token = await claimed(lock)
    assert (await hands.fail(storage, PIPE, token)).attempts == 0
    await storage.append([(PIPE, numbered(3))])

    assert (await hands.fail(storage, PIPE, token)).attempts == 0
    await hands.give_back(storage, PIPE, token, 1)

    assert await sizes_until_empty(storage, token) == [3]


async def test_S18_only_what_is_left_of_a_batch_fails(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(8))])
    token = await claimed(lock)
    batch = await hands.take(storage, [PIPE], 8, token)

    await hands.pop(storage, PIPE, batch.through_first(5), token)
    assert (await hands.fail(storage, PIPE, token)).attempts == 0
    batch = await hands.take(storage, [PIPE], 8, token)

    assert (batch.messages, batch.failed) == (numbered(1, 5), None)


async def test_S18_the_last_of_a_batch_fails_alone(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(8))])
    token = await claimed(lock)
    batch = await hands.take(storage, [PIPE], 5, token)

    await hands.pop(storage, PIPE, batch.through_first(4), token)

    assert (await hands.fail(storage, PIPE, token)).attempts == 1
    again = await hands.take(storage, [PIPE], MANY, token)
    assert again.messages == [b"message-4"]
    assert again.failed is not None


async def test_S18_nothing_of_an_acknowledged_batch_fails(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(8))])
    token = await claimed(lock)
    await hands.pop(storage, PIPE, (await hands.take(storage, [PIPE], 4, token)).through, token)

    assert (await hands.fail(storage, PIPE, token)).attempts == 0

    assert await sizes_until_empty(storage, token) == [4]


async def test_S18_each_tube_has_failures_of_its_own(storage: Storage, lock: Lock) -> None:
    for pipe in (PIPE, f"{KEY}/1", OTHER):
        await storage.append([(pipe, numbered(4))])
    token = await claimed(lock)
    await failed_alone(storage, token, 2)

    batch = await hands.take(storage, [f"{KEY}/1"], MANY, token)
    assert (batch.count, batch.failed) == (4, None)
    other = await hands.take(storage, [OTHER], MANY, await claimed(lock, OTHER_KEY))
    assert (other.count, other.failed) == (4, None)


async def test_S18_what_is_in_front_leaves_the_failures_behind_it(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(3))])
    token = await claimed(lock)
    await failed_alone(storage, token, 2)
    await hands.fail(storage, PIPE, token)

    await hands.put_in_front(storage, PIPE, *numbered(2, 10))
    batch = await hands.take(storage, [PIPE], MANY, token)
    assert (batch.messages, batch.failed) == (numbered(2, 10), None)
    await storage.pop(Hand(KEY, token, batch), batch.count)

    batch = await hands.take(storage, [PIPE], MANY, token)
    assert batch.messages == [b"message-0"]
    assert batch.failed is not None
    assert batch.failed.attempts == 3


async def test_S18_what_is_in_front_fails_by_itself(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(3))])
    await hands.put_in_front(storage, PIPE, b"urgent")
    token = await claimed(lock)
    hand = Hand(KEY, token, await hands.take(storage, [PIPE], MANY, token))

    assert (await storage.fail(hand)).attempts == 1

    again = await hands.take(storage, [PIPE], MANY, token)
    assert (again.messages, again.failed is not None) == ([b"urgent"], True)
    await storage.pop(Hand(KEY, token, again), 1)
    behind = await hands.take(storage, [PIPE], MANY, token)
    assert (behind.messages, behind.failed) == (numbered(3), None)


# S19


@pytest.fixture
def die_holding(driver: Driver, backend: Backend, root: Path) -> Callable[..., Awaitable[None]]:
    """Lets a holder of the thread die that did these steps: a process by SIGKILL, or where claims live by time and
    processes do not share, a lease by running out.
    """

    async def of_sigkill(*steps: str) -> None:
        async with holding(root, driver.name, backend.address, KEY, *steps) as pid:
            pass
        tell_of_death(driver.name, backend.address, pid)

    async def of_old_age(*steps: str) -> None:
        lock = await hold(backend, KEY, *steps)
        if await lock.ttl(KEY, NEVER_S):
            assert await backend.storage.wait(everything, LIMIT_S) == KEY

    if "multiprocess" in driver.capabilities:
        return of_sigkill
    if "time_leases" in driver.capabilities:
        return of_old_age
    pytest.skip(f"no holder dies on {driver.name}")


DieHolding = Callable[..., Awaitable[None]]


async def test_S19_a_single_message_in_the_hands_of_the_dead_failed(
    storage: Storage, lock: Lock, die_holding: DieHolding
) -> None:
    await storage.append([(PIPE, numbered(5))])
    await die_holding("take=1")

    batch = await hands.take(storage, [PIPE], MANY, await claimed(lock))

    assert batch.messages == [b"message-0"]
    assert batch.failed is not None
    assert (batch.failed.attempts, batch.failed.ending) == (1, Ending())


async def test_S19_deaths_and_failures_are_counted_together(
    storage: Storage, lock: Lock, die_holding: DieHolding
) -> None:
    await storage.append([(PIPE, numbered(5))])
    first = await failed_alone(storage, await claimed(lock), 2)
    await lock.release(KEY)

    for attempts in (3, 4):
        await die_holding("take=128")
        token = await claimed(lock)
        failed = (await hands.take(storage, [PIPE], MANY, token)).failed
        assert failed is not None
        assert (failed.attempts, failed.first_us, failed.ending) == (attempts, first.first_us, Ending())
        assert failed.last_us >= first.last_us
        await lock.release(KEY)

    token = await claimed(lock)
    last = await failed_alone(storage, token)
    assert (last.attempts, last.ending) == (5, None)


async def test_S19_several_in_the_hands_of_the_dead_come_one_by_one(
    storage: Storage, lock: Lock, die_holding: DieHolding
) -> None:
    await storage.append([(PIPE, numbered(20))])
    await die_holding("take=5")

    sizes = await sizes_until_empty(storage, await claimed(lock))

    assert sizes[:5] == [1] * 5
    assert sum(sizes) == 20
    assert sizes[-1] > 1


async def test_S19_what_the_dead_acknowledged_has_not_failed(
    storage: Storage, lock: Lock, die_holding: DieHolding
) -> None:
    await storage.append([(PIPE, numbered(5))])
    await die_holding("take=3", "pop=3")

    batch = await hands.take(storage, [PIPE], MANY, await claimed(lock))

    assert (batch.messages, batch.failed) == (numbered(2, 3), None)


async def test_S19_the_last_of_a_batch_of_the_dead_failed_alone(
    storage: Storage, lock: Lock, die_holding: DieHolding
) -> None:
    await storage.append([(PIPE, numbered(5))])
    await die_holding("take=3", "pop=2")

    batch = await hands.take(storage, [PIPE], MANY, await claimed(lock))

    assert batch.messages == [b"message-2"]
    assert batch.failed is not None
    assert batch.failed.attempts == 1


@pytest.mark.parametrize("steps", [(), ("take=1", "release"), ("take=3", "release")], ids=" ".join)
async def test_S19_what_was_not_handed_out_or_was_released_has_not_failed(
    storage: Storage, lock: Lock, die_holding: DieHolding, steps: tuple[str, ...]
) -> None:
    await storage.append([(PIPE, numbered(5))])
    await die_holding(*steps)

    batch = await hands.take(storage, [PIPE], MANY, await claimed(lock))

    assert (batch.count, batch.failed) == (5, None)


async def test_S19_what_failed_before_its_holder_died_failed_once(
    storage: Storage, lock: Lock, die_holding: DieHolding
) -> None:
    await storage.append([(PIPE, numbered(5))])
    await die_holding("take=1", "fail")

    failed = (await hands.take(storage, [PIPE], MANY, await claimed(lock))).failed

    assert failed is not None
    assert (failed.attempts, failed.ending) == (1, None)


async def test_S19_what_is_isolated_dies_one_by_one_too(storage: Storage, lock: Lock, die_holding: DieHolding) -> None:
    await storage.append([(PIPE, numbered(16))])
    await die_holding("take=16", "give_back=8", "take=16")

    sizes = await sizes_until_empty(storage, await claimed(lock))

    assert sizes[:8] == [1] * 8
    assert max(sizes) <= 8


async def test_S19_a_waiting_worker_hears_of_the_dead_one(
    storage: Storage, lock: Lock, die_holding: DieHolding
) -> None:
    await storage.append([(PIPE, numbered(1))])
    await die_holding("take=1")

    assert await storage.wait(everything, LIMIT_S) == KEY
    assert (await drain(storage, PIPE, await claimed(lock))).messages == numbered(1)


@pytest.mark.requires("multiprocess", "noted_deaths")
@pytest.mark.parametrize("ending", [Ending(signal=9), Ending(exit_code=3)], ids=["signal", "exit code"])
async def test_S19_a_failure_tells_how_the_process_ended(
    backend: Backend, lock: Lock, driver: Driver, root: Path, ending: Ending
) -> None:
    await backend.storage.append([(PIPE, numbered(2))])
    assert backend.note_death
    async with holding(root, driver.name, backend.address, KEY, "take=1") as pid:
        pass
    backend.note_death(pid, ending)

    failed = (await hands.take(backend.storage, [PIPE], MANY, await claimed(lock))).failed

    assert failed is not None
    assert failed.ending == ending


@pytest.mark.requires("multiprocess", "noted_deaths")
@pytest.mark.parametrize("count", [1, 3])
async def test_S19_what_was_handed_out_to_a_process_whose_end_was_planned_has_not_failed(
    backend: Backend, lock: Lock, driver: Driver, root: Path, count: int
) -> None:
    await backend.storage.append([(PIPE, numbered(5))])
    assert backend.excuse
    async with holding(root, driver.name, backend.address, KEY, f"take={count}") as pid:
        backend.excuse(pid)
    tell_of_death(driver.name, backend.address, pid)

    batch = await hands.take(backend.storage, [PIPE], MANY, await claimed(lock))

    assert (batch.count, batch.failed) == (5, None)


@pytest.mark.requires("multiprocess", "noted_deaths")
async def test_S19_a_planned_end_leaves_earlier_failures(
    backend: Backend, lock: Lock, driver: Driver, root: Path
) -> None:
    await backend.storage.append([(PIPE, numbered(5))])
    before = await failed_alone(backend.storage, await claimed(lock), 2)
    await lock.release(KEY)
    assert backend.excuse
    async with holding(root, driver.name, backend.address, KEY, "take=1") as pid:
        backend.excuse(pid)
    tell_of_death(driver.name, backend.address, pid)

    batch = await hands.take(backend.storage, [PIPE], MANY, await claimed(lock))

    assert (batch.count, batch.failed) == (1, before)
