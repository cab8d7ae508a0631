"""Dead letters as users see them: what is written of a request, what can be done with it, and what is logged."""

from __future__ import annotations

import logging
import time
from typing import ClassVar

import msgspec
import pytest

from shardq import Queue, Retry, Route, Tube, Worker
from shardq.deadletters import Buried
from shardq.errors import ConfigurationError, QueueFull
from shardq.letters.match import Match
from shardq.model import Counts
from tests.conftest import OpenBackend
from tests.support.drivers import MIB, Backend
from tests.support.tasks import LIMIT_S
from tests.support.workers import Item, Routed, diary, new_worker, one_each, run, working

#: Numbers of the items that handlers fail for.
broken: set[int] = set()


@pytest.fixture(autouse=True)
def _nothing_broken() -> None:
    broken.clear()


class Fragile(Routed):
    retry = Retry(max_attempts=2, backoff_s=0.001, jitter=False)

    def perform(self, *items: Item) -> None:
        diary.add("batch", len(items))
        for item in items:
            if item.number in broken:
                raise ValueError(f"number {item.number} is broken")
        for item in items:
            diary.add("done", item.number)


class Other(Fragile):
    """The same, under another name."""


class Ranked(Fragile):
    priorities: ClassVar[list[int] | None] = [5, 0]


class Patient(Fragile):
    """Would wait for long, were an attempt counted."""

    retry = Retry(backoff_s=3600.0, backoff_max_s=3600.0, jitter=False)


def done() -> list[int]:
    return [number for (number,) in diary.of("done")]


def packed(item: Item) -> bytes:
    return msgspec.msgpack.encode(item)


async def buried(queue: Queue, worker: Worker, *numbers: int, handler: type[Fragile] = Fragile) -> list[Buried]:
    """Let items of these numbers become dead letters."""
    broken.update(numbers)
    await queue.register(handler, *(Item(0, number) for number in numbers))
    await run(worker, len(numbers))
    broken.difference_update(numbers)
    return list(await queue.dead_letters.list(handler))


# What is written


async def test_a_letter_tells_what_happened(queue: Queue, worker: Worker) -> None:
    before_us = time.time_ns() // 1000
    await queue.register(Fragile, Item(0, 6))
    await run(worker, 1)

    letter = (await buried(queue, worker, 7))[0].letter

    assert letter.handler == f"{__name__}/Fragile"
    assert letter.pipe == Tube(Fragile, Route()).pipe
    assert letter.message == packed(Item(0, 7))
    assert letter.reason == "raised"
    assert letter.error == "ValueError: number 7 is broken"
    assert letter.attempts == 2
    assert letter.signal is None
    assert before_us <= letter.first_failed_us < letter.last_failed_us <= time.time_ns() // 1000
    assert letter.traceback.startswith("Traceback (most recent call last):")
    assert letter.traceback.rstrip().endswith("ValueError: number 7 is broken")
    assert "in perform" in letter.traceback


async def test_a_letter_has_the_number_that_its_request_had(queue: Queue, worker: Worker) -> None:
    broken.add(1)
    await queue.register(Fragile, *one_each(3))
    first = (await queue.storage.range(Tube(Fragile, Route()).pipe, 1)).sequence

    await run(worker, 3)

    letter = (await queue.dead_letters.list())[0].letter
    assert letter.sequence == first + 1


async def test_burying_is_logged_as_an_error_with_its_fields(
    queue: Queue, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    [letter] = await buried(queue, worker, 7)

    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.name == "shardq.worker"
    fields = vars(record)
    assert fields["pipe"] == letter.letter.pipe
    assert fields["sequence"] == letter.letter.sequence
    assert fields["attempts"] == 2
    assert fields["error"] == letter.letter.error


async def test_a_failure_that_is_tried_again_is_logged_as_a_warning(
    queue: Queue, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    await buried(queue, worker, 7)

    [record] = [record for record in caplog.records if record.getMessage() == "request failed"]
    assert record.levelno == logging.WARNING
    assert record.exc_info is not None
    assert (vars(record)["pipe"], vars(record)["attempts"]) == (Tube(Fragile, Route()).pipe, 1)


# Undecodable messages

NONSENSE = {
    "no MessagePack": b"\xc1",
    "a string": b"\xa3abc",
    "too few fields": b"\x91\x00",
    "a field of a wrong type": b"\x92\x00\xa1x",
    "cut off": b"\x93\x00\x01",
    "empty": b"",
    "two at once": b"\x92\x00\x63" * 2,
}


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE.keys())
@pytest.mark.parametrize("place", [0, 2, 5])
async def test_what_does_not_decode_becomes_a_letter_and_the_others_are_handled(
    queue: Queue, worker: Worker, nonsense: bytes, place: int
) -> None:
    messages = [packed(Item(0, number)) for number in range(5)]
    messages.insert(place, nonsense)
    await queue.storage.append([(Tube(Patient, Route()).pipe, messages)])

    await run(worker, 6, handler=Patient)

    letter = (await queue.dead_letters.list())[0].letter
    assert (letter.reason, letter.message, letter.attempts) == ("undecodable", nonsense, 0)
    assert "DecodeError" in letter.error
    assert done() == list(range(5))
    assert await queue.storage.backlog() == Counts(6, 6, buried=1, dead=1)


async def test_many_that_do_not_decode_all_become_letters(queue: Queue, worker: Worker) -> None:
    messages = [b"\xc1" if number % 3 else packed(Item(0, number)) for number in range(128)]
    await queue.storage.append([(Tube(Patient, Route()).pipe, messages)])

    await run(worker, 128, handler=Patient)

    assert done() == list(range(0, 128, 3))
    assert len(await queue.dead_letters.list(Patient)) == 128 - len(done())


async def test_what_does_not_decode_is_handled_nowhere_else(
    queue: Queue, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    messages = [packed(Item(0, 0)), b"\xc1", packed(Item(0, 2))]
    await queue.storage.append([(Tube(Fragile, Route()).pipe, messages)])
    broken.add(0)

    await run(worker, 3, handler=Fragile)

    letters = [(buried.letter.reason, buried.letter.attempts) for buried in await queue.dead_letters.list()]
    assert letters == [("raised", 2), ("undecodable", 0)]
    assert done() == [2]
    # What failed in a batch with others did not fail alone, even where it alone could be decoded.
    counted = [record.__dict__.get("attempts") for record in caplog.records if "failed" in record.message]
    assert counted == [None, 1]


async def test_a_limit_counts_what_does_not_decode(queue: Queue, worker: Worker) -> None:
    messages = [b"\xc1", packed(Item(0, 1)), b"\xc1", packed(Item(0, 3))]
    await queue.storage.append([(Tube(Fragile, Route()).pipe, messages)])

    await run(worker, 3, handler=Fragile)

    assert await queue.storage.backlog() == Counts(4, 3, buried=2, dead=2)


async def test_what_did_not_decode_may_decode_with_newer_code(queue: Queue, worker: Worker) -> None:
    await queue.storage.append([(Tube(Fragile, Route()).pipe, [b"\xc1"])])
    await run(worker, 1, handler=Fragile)
    [letter] = await queue.dead_letters.list()

    assert await queue.dead_letters.requeue(letter)
    await run(worker, 1, handler=Fragile)

    [again] = await queue.dead_letters.list()
    assert again.letter.reason == "undecodable"
    assert again.number != letter.number


# Listing


async def test_letters_are_listed_by_handler(queue: Queue, worker: Worker) -> None:
    mine = await buried(queue, worker, 1, 2)
    others = await buried(queue, worker, 3, handler=Other)

    letters = queue.dead_letters
    assert await letters.list(Fragile) == await letters.list(f"{__name__}/Fragile") == mine
    assert await letters.list(Other) == others
    assert list(await letters.list()) == [*mine, *others]
    assert await letters.list(Patient) == await letters.list("no.such/Handler") == []
    assert [letter.id for letter in others] == [f"{__name__}/Other#{others[0].number}"]


async def test_letters_are_listed_by_page_and_filter(queue: Queue, worker: Worker) -> None:
    mine = await buried(queue, worker, *range(40))
    others = await buried(queue, worker, 50, 51, handler=Other)
    letters, all_ = queue.dead_letters, [*mine, *others]

    assert await letters.list(limit=0) == []
    assert await letters.list(Fragile, limit=3) == mine[:3]
    for place in (0, 15, 16, 38, 39, 40):
        assert await letters.list(after=all_[place].id) == all_[place + 1 :]
        assert await letters.get(all_[place].id) == all_[place]
    assert await letters.list(Other, after=mine[-1].id) == others
    assert await letters.list(Fragile, after=others[0].id) == []
    assert await letters.list(match=Match("type=ValueError", "1=39")) == [mine[39]]
    assert await letters.list(after=mine[2].id, limit=2, match=Match("error~number 1")) == mine[10:12]
    assert await letters.get(f"{__name__}/Fragile#999999") is None
    for wrong in ("", "no/Handler", "no/Handler#", "no/Handler#x", "#1"):
        with pytest.raises(ConfigurationError, match="is no id of one dead letter"):
            await letters.get(wrong)


async def test_a_letter_is_put_back_as_another_message(queue: Queue, worker: Worker) -> None:
    [letter] = await buried(queue, worker, 1)
    elsewhere = Tube(Fragile, Route(7)).pipe

    assert await queue.dead_letters.requeue(letter, message=packed(Item(7, 2)), pipe=elsewhere)
    assert not await queue.dead_letters.requeue(letter, message=packed(Item(7, 2)))

    assert (await queue.storage.range(elsewhere, 9)).messages == [packed(Item(7, 2))]
    await run(worker, 1)
    assert done() == [2]


async def test_letters_of_all_threads_and_priorities_lie_together(queue: Queue, worker: Worker) -> None:
    broken.update(range(3))
    await queue.register(Fragile, *(Item(thread, thread) for thread in range(3)))

    await run(worker, 3)

    letters = await queue.dead_letters.list(Fragile)
    assert sorted(letter.letter.pipe for letter in letters) == [Tube(Fragile, Route(n)).pipe for n in range(3)]
    assert len({letter.id for letter in letters}) == 3


async def test_letters_are_no_work_for_a_worker(queue: Queue, worker: Worker) -> None:
    await buried(queue, worker, 1)

    async with working(worker):
        await queue.register(Fragile, Item(0, 2))
        await diary.until("done", 2)
        assert await queue.storage.wait_for_quiet(LIMIT_S)

    assert done() == [2]
    assert len(await queue.dead_letters.list()) == 1


# Putting back


async def test_a_letter_put_back_is_handled_after_those_that_wait(backend: Backend, queue: Queue) -> None:
    worker = new_worker(backend, queue, batch_size=1)
    [letter] = await buried(queue, worker, 7)
    await queue.register(Fragile, *one_each(3))

    assert await queue.dead_letters.requeue(letter) is True
    await run(worker, 4)

    assert done() == [0, 1, 2, 7]
    assert await queue.dead_letters.list() == []


async def test_a_letter_put_back_ahead_is_handled_before_those_that_wait(backend: Backend, queue: Queue) -> None:
    worker = new_worker(backend, queue, batch_size=2)
    letters = await buried(queue, worker, 7, 8, 9)
    await queue.register(Fragile, *one_each(3))

    for letter in letters:
        assert await queue.dead_letters.requeue(letter, ahead=True) is True
    await run(worker, 6)

    assert done() == [7, 8, 9, 0, 1, 2]


async def test_a_letter_put_back_ahead_overtakes_no_higher_priority(queue: Queue, worker: Worker) -> None:
    [letter] = await buried(queue, worker, 7, handler=Ranked)
    await queue.register(Ranked, *(Item(0, priority * 10 + n, priority) for n in range(2) for priority in (0, 5)))

    assert await queue.dead_letters.requeue(letter, ahead=True)
    await run(worker, 5)

    assert done() == [50, 51, 7, 0, 1]


async def test_attempts_start_anew_for_a_letter_put_back(queue: Queue, worker: Worker) -> None:
    [letter] = await buried(queue, worker, 7)
    broken.add(7)

    for ahead in (True, False, True):
        assert await queue.dead_letters.requeue(letter, ahead=ahead)
        batches = len(diary.of("batch"))
        await run(worker, 1)
        assert len(diary.of("batch")) == batches + 2
        [letter] = await queue.dead_letters.list()
        assert letter.letter.attempts == 2
        assert letter.letter.pipe == Tube(Fragile, Route()).pipe


async def test_a_letter_is_put_back_once(queue: Queue, worker: Worker) -> None:
    [letter] = await buried(queue, worker, 7)

    assert await queue.dead_letters.requeue(letter) is True
    assert await queue.dead_letters.requeue(letter) is False
    assert await queue.dead_letters.requeue(letter, ahead=True) is False

    assert (await queue.storage.backlog()).queued == 1


async def test_a_letter_put_back_ahead_of_one_that_rests_waits_with_it(queue: Queue, worker: Worker) -> None:
    pipe = Tube(Patient, Route()).pipe
    await queue.storage.append([(pipe, [b"\xc1"])])
    await run(worker, 1, handler=Patient)
    [letter] = await queue.dead_letters.list()
    broken.add(0)
    await queue.register(Patient, Item(0, 0))
    async with working(worker):
        await diary.until("batch")

    assert await queue.dead_letters.requeue(letter, ahead=True)

    assert await queue.storage.pipes() == [pipe]
    assert (await queue.storage.range(pipe, 9)).messages[0] == letter.letter.message
    assert await queue.storage.length(pipe) == (await queue.storage.backlog()).queued == 2


async def test_dropped_letters_are_forgotten(queue: Queue, worker: Worker) -> None:
    letters = await buried(queue, worker, 1, 2, 3)

    assert await queue.dead_letters.drop(*letters[:2]) == 2
    assert await queue.dead_letters.drop(*letters) == 1
    assert await queue.dead_letters.drop() == 0

    assert await queue.dead_letters.list() == []
    assert await queue.dead_letters.requeue(letters[0]) is False
    assert await queue.storage.backlog() == Counts(3, 3, buried=3)


@pytest.mark.requires("bounded")
async def test_without_room_putting_back_says_so_and_keeps_the_letter(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    queue = Queue(backend.storage)
    pipe = Tube(Other, Route(1)).pipe
    large = bytes(64 * 1024)
    await backend.storage.append([(pipe, [large])])
    await run(new_worker(backend, queue), 1, handler=Other)
    [letter] = await queue.dead_letters.list()
    while await backend.storage.append([(pipe, [large])]):
        continue

    with pytest.raises(QueueFull, match="stays a dead letter"):
        await queue.dead_letters.requeue(letter)

    assert await queue.dead_letters.list() == [letter]
