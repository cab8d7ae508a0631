"""`Queue.later`: what waits for its time, for applications."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shardq import Queue
from shardq.drivers import RuntimeStorage
from shardq.errors import ConfigurationError, HandlerError
from shardq.later.match import Match
from tests.support.letters import Fulfil, Order, User, name_of

HOUR_S = 3600


@pytest.fixture
async def queue() -> Queue:
    queue = Queue(RuntimeStorage())
    for number in range(5):
        await queue.register(Fulfil, Order(number, User(number % 2)), defer=(number + 1) * HOUR_S)
    return queue


async def numbers(queue: Queue, *filters: str) -> list[int]:
    return [number for number in range(5) if await queue.later.list(match=Match(f"number={number}", *filters))]


async def test_they_are_listed_the_first_due_first(queue: Queue) -> None:
    found = await queue.later.list(Fulfil)

    assert found == await queue.later.list() == await queue.later.list(name_of(Fulfil))
    assert [its.due_us for its in found] == sorted(its.due_us for its in found)
    assert {its.handler for its in found} == {name_of(Fulfil)}
    assert await queue.later.list(limit=2, after=found[1].id) == found[2:4]
    assert await queue.later.list("app/None") == []
    assert await queue.later.get(found[3].id) == found[3]
    with pytest.raises(HandlerError):
        await queue.later.list(Queue)  # type: ignore[arg-type]


async def test_filters_say_when_and_what(queue: Queue) -> None:
    assert await numbers(queue, "within=150m") == [0, 1]
    assert await numbers(queue, "beyond=150m") == [2, 3, 4]
    assert await numbers(queue, "user.id=1", "beyond=150m") == [3]
    for wrong, said in (("within=soon", "says no age"), ("nothing", "is no filter: write FIELD=VALUE")):
        with pytest.raises(ConfigurationError, match=said):
            Match(wrong)


async def test_one_wins(queue: Queue) -> None:
    first, second, *others = await queue.later.list()

    assert await queue.later.run(second)
    assert not await queue.later.run(second)
    assert await queue.later.cancel(first, second, others[0]) == 2
    assert await queue.later.get(first.id) is None

    assert await queue.later.list() == others[1:]
    assert (await queue.storage.backlog()).queued == 1


async def test_what_list_did_not_return_is_refused(queue: Queue) -> None:
    first, *_ = await queue.later.list()

    with pytest.raises(ConfigurationError, match=r"give those that later.list\(\) returned"):
        await queue.later.cancel(first, first.id)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"give those that later.list\(\) returned"):
        await queue.later.run(first.id)  # type: ignore[arg-type]

    assert len(await queue.later.list()) == 5


async def test_a_recurrent_one_is_skipped_once(queue: Queue) -> None:
    await queue.register(Fulfil, Order(9, User(9)), recurrent=HOUR_S)
    [recurring] = await queue.recurrent.list()

    assert await queue.later.skip(recurring)
    assert not await queue.later.skip(recurring)

    [after] = await queue.recurrent.list()
    assert after.due - recurring.due == timedelta(seconds=HOUR_S)
    assert await queue.recurrent.cancel(Fulfil, Order(9, User(9))) == 1
    assert not await queue.later.skip(after)
    with pytest.raises(ConfigurationError, match=r"give one that recurrent.list\(\) returned"):
        await queue.later.skip(Order(9, User(9)))  # type: ignore[arg-type]
