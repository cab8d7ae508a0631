"""Requests in traces of OpenTelemetry, on every driver: the real SDK, in the process of the test."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode, TraceFlags, TraceState

from shardq import Handler, Queue, Retry, Worker
from shardq.encoding.envelope import sealed
from shardq.errors import RequestFailed
from shardq.logs import BatchInHand
from shardq.model.trace import Trace, trace_of
from shardq.protocols import Storage
from tests.support.malign import MALIGN
from tests.support.tasks import LIMIT_S, eventually
from tests.support.tracing import Spans, identity, linked_to, parent_of, provided, recorded, said
from tests.support.workers import Impatient, Item, Routed, diary, letters, run, trouble, working

MODULE = __name__
PIPE = f"{MODULE}/Seen/0/0"


@pytest.fixture
def spans() -> Iterator[Spans]:
    with recorded() as spans:
        yield spans


def caller(name: str = "caller", **options: Any) -> Any:
    """A span of the application, current in the block."""
    return trace.get_tracer("app").start_as_current_span(name, **options)


def note_current() -> None:
    found = trace.get_current_span().get_span_context()
    diary.add("current", (found.trace_id, found.span_id))


class Seen(Routed):
    """Writes down which span is current, in all ways in which its code may run."""

    def perform(self, *items: Item) -> Any:
        note_current()
        if items[0].number < 0:
            return None
        return self.later()

    async def later(self) -> None:
        note_current()
        await asyncio.sleep(0)
        await asyncio.gather(asyncio.to_thread(note_current), asyncio.create_task(self.task()))

    async def task(self) -> None:
        note_current()


class Sends(Routed):
    """Sends each item on in its own way."""

    async def perform(self, *items: Item) -> None:
        await self.emit(Seen, *items)
        await self.queue.register(Seen, *items)


class SendsPlainly(Routed):
    def perform(self, *items: Item) -> None:
        self.emit_sync(Seen, *items)
        self.queue.register_sync(Seen, *items)


class Fails(Impatient):
    def perform(self, *items: Item) -> None:
        for item in items:
            if item.number in trouble:
                raise trouble[item.number]()


class Doubles(Handler[int, int]):
    retry = Retry(max_attempts=1)

    def perform(self, *numbers: int) -> list[int]:
        note_current()
        if -1 in numbers:
            raise ValueError("less than nothing")
        return [2 * number for number in numbers]


async def buried(queue: Queue) -> None:
    """Wait until there is a dead letter."""
    await eventually(lambda: letters(queue), "a request became a dead letter")


async def stored(storage: Storage, pipe: str = PIPE) -> Sequence[bytes]:
    return (await storage.range(pipe, 99)).messages


# The spans


async def test_a_request_is_handled_in_the_trace_that_it_was_sent_in(
    queue: Queue, worker: Worker, spans: Spans
) -> None:
    with caller():
        await queue.register(Seen, Item(3, 1))
    await run(worker, 1)

    above, sent, handled = spans.one("caller"), spans.one(f"send {MODULE}/Seen"), spans.one(f"process {MODULE}/Seen")
    assert (sent.kind, handled.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert (parent_of(sent), parent_of(handled)) == (identity(above), identity(sent))
    assert linked_to(handled) == [identity(sent)]
    assert handled.status.status_code is StatusCode.UNSET
    assert said(sent) == {
        "messaging.system": "shardq",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": f"{MODULE}/Seen",
    }
    number = said(handled).pop("messaging.message.id").partition("#")[2]
    assert said(handled) == {
        "messaging.system": "shardq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": f"{MODULE}/Seen",
        "messaging.destination.partition.id": "3",
        "messaging.message.id": f"{MODULE}/Seen/3/0#{number}",
        "shardq.priority": 0,
    }


async def test_the_span_is_current_in_all_code_of_the_handler(queue: Queue, worker: Worker, spans: Spans) -> None:
    await queue.register(Seen, Item(0, 1))
    await run(worker, 1)

    handled = identity(spans.one(f"process {MODULE}/Seen"))
    assert diary.of("current") == [(handled,)] * 4
    assert not trace.get_current_span().get_span_context().is_valid


async def test_outside_of_a_span_nothing_is_sent_and_stored_but_the_request(
    queue: Queue, storage: Storage, worker: Worker, spans: Spans
) -> None:
    await queue.register(Seen, Item(0, -1))
    [message] = await stored(storage)
    assert message == queue.serializer.encode(Item, [Item(0, -1)])[0]

    await run(worker, 1)

    assert spans.names == [f"process {MODULE}/Seen"]
    assert (parent_of(spans.one(spans.names[0])), linked_to(spans.one(spans.names[0]))) == (None, [])


async def test_a_batch_of_several_calls_is_linked_to_all_of_them(queue: Queue, worker: Worker, spans: Spans) -> None:
    for name in ("first", "second"):
        with caller(name):
            await queue.register(Seen, Item(0, 1), Item(0, 2))
    await queue.register(Seen, Item(0, 3))
    await run(worker, 5)

    handled, sent = spans.one(f"process {MODULE}/Seen"), spans.named(f"send {MODULE}/Seen")
    assert parent_of(handled) is None
    assert linked_to(handled) == [identity(span) for span in sent]
    assert len({span.context.trace_id for span in (handled, *sent)}) == 3
    assert said(handled)["messaging.batch.message_count"] == 5
    assert [said(span)["messaging.batch.message_count"] for span in sent] == [2, 2]
    assert "messaging.message.id" not in said(handled)


@pytest.mark.parametrize("handler", [Sends, SendsPlainly])
async def test_what_handlers_send_is_below_their_batch(
    queue: Queue, worker: Worker, spans: Spans, handler: type[Handler[Item]]
) -> None:
    with caller():
        queue.register_sync(handler, Item(0, -1))
    await run(worker, 3)

    batch, sent = spans.one(f"process {MODULE}/{handler.__name__}"), spans.named(f"send {MODULE}/Seen")
    assert [parent_of(span) for span in sent] == [identity(batch)] * 2
    seen = [link for span in spans.named(f"process {MODULE}/Seen") for link in linked_to(span)]
    assert sorted(seen) == sorted(map(identity, sent))
    assert {span.context.trace_id for span in sent} == {spans.one("caller").context.trace_id}


async def test_deferred_requests_stay_in_their_trace(queue: Queue, worker: Worker, spans: Spans) -> None:
    with caller():
        await queue.register(Seen, Item(0, -1), defer=0.001)
    await run(worker, 1)

    assert parent_of(spans.one(f"process {MODULE}/Seen")) == identity(spans.one(f"send {MODULE}/Seen"))


async def test_each_time_of_a_recurrent_request_is_a_trace_of_its_own(
    queue: Queue, worker: Worker, spans: Spans
) -> None:
    with caller():
        await queue.register(Seen, Item(0, -1), recurrent=0.001)
    await run(worker, 1)
    await run(worker, 1)

    sent, handled = spans.one(f"send {MODULE}/Seen"), spans.named(f"process {MODULE}/Seen")
    assert [parent_of(span) for span in handled] == [None, None]
    assert [linked_to(span) for span in handled] == [[identity(sent)]] * 2
    assert len({span.context.trace_id for span in (sent, *handled)}) == 3


@pytest.fixture
async def served(storage: Storage) -> None:
    """This process counts as one that serves the handler, before its worker begins."""
    await storage.wait(frozenset((f"{MODULE}/Doubles",)), 0)


@pytest.mark.usefixtures("served")
async def test_callers_have_their_results_in_their_trace(queue: Queue, worker: Worker, spans: Spans) -> None:
    async with working(worker):
        with caller():
            assert await queue.call(Doubles, 4) == 8
            async with queue.map(Doubles, range(30), window=4) as results:
                assert [result async for result in results] == list(range(0, 60, 2))
            ticket = await queue.submit(Doubles, 5)
        assert await queue.result(ticket, Doubles) == 10

    sent = {identity(span) for span in spans.named(f"send {MODULE}/Doubles")}
    links = [linked_to(span) for span in spans.named(f"process {MODULE}/Doubles")]
    assert {link for its in links for link in its} == sent
    assert {trace_id for trace_id, _ in sent} == {spans.one("caller").context.trace_id}
    assert not [name for name in spans.names if "Inbox" in name]


@pytest.mark.usefixtures("served")
async def test_a_call_that_fails_says_so_in_both_places(queue: Queue, worker: Worker, spans: Spans) -> None:
    async with working(worker):
        with pytest.raises(RequestFailed), caller():
            await queue.call(Doubles, -1)

    for name in ("caller", f"process {MODULE}/Doubles"):
        assert spans.one(name).status.status_code is StatusCode.ERROR


# Failures


async def test_each_attempt_has_its_span_and_its_error(queue: Queue, worker: Worker, spans: Spans) -> None:
    trouble[1] = lambda: ValueError("not today")
    with caller():
        await queue.register(Fails, Item(0, 1))
    async with working(worker):
        await buried(queue)

    attempts, sent = spans.named(f"process {MODULE}/Fails"), spans.one(f"send {MODULE}/Fails")
    assert [said(span).get("shardq.attempts") for span in attempts] == [None, 1, 2]
    assert [parent_of(span) for span in attempts] == [identity(sent)] * 3
    for span in attempts:
        [event] = span.events
        assert event.attributes
        assert event.attributes["exception.message"] == "not today"
        assert "in perform" in str(event.attributes["exception.stacktrace"])
        assert said(span)["error.type"] == "ValueError"
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ValueError: not today")


async def test_requests_keep_their_traces_through_isolation_burial_and_requeueing(
    queue: Queue, storage: Storage, worker: Worker, spans: Spans
) -> None:
    trouble[2] = lambda: ValueError("the culprit")
    for number in range(4):
        with caller(f"caller {number}"):
            await queue.register(Fails, Item(0, number))
    async with working(worker):
        await buried(queue)
        assert await storage.wait_for_quiet(LIMIT_S)
    trouble.clear()

    [letter] = await letters(queue)
    context = trace_of(letter.message)
    culprit = identity(spans.named(f"send {MODULE}/Fails")[2])
    assert context
    assert (int.from_bytes(context.trace_id), int.from_bytes(context.span_id)) == culprit
    [letter_there] = await queue.dead_letters.list()
    assert await queue.dead_letters.requeue(letter_there)
    await run(worker, 1)
    assert parent_of(spans.named(f"process {MODULE}/Fails")[-1]) == culprit


async def test_a_letter_of_a_request_whose_caller_is_gone_has_its_trace(
    queue: Queue, storage: Storage, worker: Worker
) -> None:
    head = Trace(bytes(16), bytes(8), 1).head
    [message] = queue.serializer.encode(int, [-1])
    [sent] = sealed([message], 77, 0, abandon=False)
    await storage.append([(f"{MODULE}/Doubles/0/0", [head + sent])])
    queue.handlers[f"{MODULE}/Doubles"] = Doubles
    async with working(worker):
        await buried(queue)

    [letter] = await letters(queue)
    assert letter.message == head + message


@pytest.mark.parametrize("how", MALIGN)
async def test_code_of_an_exception_cannot_disturb_its_span(
    queue: Queue, worker: Worker, spans: Spans, how: str
) -> None:
    trouble[1] = MALIGN[how]
    await queue.register(Fails, Item(0, 1))
    async with working(worker):
        await buried(queue)

    assert [span.status.status_code for span in spans.named(f"process {MODULE}/Fails")] == [StatusCode.ERROR] * 3


async def test_a_call_that_stores_nothing_says_why(queue: Queue, spans: Spans) -> None:
    with caller(), pytest.raises(Exception, match="decreasing"):
        await queue.register(Wrong, 1)

    sent = spans.one(f"send {MODULE}/Wrong")
    assert (sent.status.status_code, said(sent)["error.type"]) == (StatusCode.ERROR, "shardq.errors.HandlerError")


class Wrong(Handler[int]):
    @classmethod
    def route(cls, *numbers: int) -> Any:
        return "decreasing"

    def perform(self, *numbers: int) -> None: ...


# Equality


async def test_requests_are_equal_in_whatever_traces_they_are_sent(
    queue: Queue, storage: Storage, spans: Spans
) -> None:
    with caller():
        assert await queue.register(Seen, Item(0, 1), if_not_exists=True) == 1
        assert await queue.register(Seen, Item(0, 2), defer=3600) == 1
        assert await queue.register(Seen, Item(0, 3), recurrent=3600) == 1
    first = await stored(storage)
    with caller():
        assert await queue.register(Seen, Item(0, 1), Item(0, 2), if_not_exists=True) == 0
        assert await queue.register(Seen, Item(0, 3), recurrent=60) == 1

    assert await stored(storage) == first
    assert await queue.cancel(Seen, Item(0, 1), Item(0, 2)) == 2
    [recurring] = await queue.recurrent.list()
    assert (recurring.schedule, queue.recurrent.decoded(recurring, Seen)) == ("every 60", Item(0, 3))
    assert await queue.recurrent.cancel(Seen, Item(0, 3)) == 1


# What is passed on


async def test_flags_and_state_are_passed_on(queue: Queue, storage: Storage, worker: Worker) -> None:
    state = TraceState([("vendor", "1"), ("other", "2")])
    above = trace.SpanContext(7 << 64, 9, is_remote=True, trace_flags=TraceFlags(0), trace_state=state)
    with recorded(), trace.use_span(trace.NonRecordingSpan(above)):
        await queue.register(Seen, Item(0, -1))
    [message] = await stored(storage)
    context = trace_of(message)
    assert context
    assert (context.flags, context.state) == (0, "vendor=1,other=2")

    with recorded() as spans:
        await run(worker, 1)
    assert spans.names == []
    [((trace_id, _),)] = diary.of("current")
    assert trace_id == 7 << 64


async def test_a_trace_that_is_not_sampled_is_passed_on_as_such(queue: Queue, storage: Storage, worker: Worker) -> None:
    with recorded(ALWAYS_OFF), caller():
        await queue.register(Sends, Item(0, -1))
    with recorded() as spans:
        await run(worker, 1)
    assert spans.names == []
    contexts = [trace_of(message) for message in await stored(storage)]
    assert [its and its.flags & TraceFlags.SAMPLED for its in contexts] == [0, 0]


async def test_without_a_provider_a_trace_is_passed_on(queue: Queue, storage: Storage, worker: Worker) -> None:
    above = trace.SpanContext(7 << 64, 9, is_remote=True, trace_flags=TraceFlags(1))
    with provided(None):
        with trace.use_span(trace.NonRecordingSpan(above)):
            await queue.register(Sends, Item(0, -1))
        await run(worker, 1)

    contexts = [trace_of(message) for message in await stored(storage)]
    assert [its and (its.trace_id, its.span_id, its.flags) for its in contexts] == [
        ((7 << 64).to_bytes(16), (9).to_bytes(8), 1)
    ] * 2


# Logs


class Talks(Handler[int]):
    def perform(self, *numbers: int) -> None:
        logging.getLogger("traced").warning("at it")


async def logged(queue: Queue, worker: Worker) -> str:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter("%(trace_id)s %(span_id)s", defaults={"trace_id": "-", "span_id": "-"}))
    handler.addFilter(BatchInHand())
    log = logging.getLogger("traced")
    log.addHandler(handler)
    try:
        await run(worker, 1)
    finally:
        log.removeHandler(handler)
    return out.getvalue().strip()


async def test_lines_of_a_handler_name_its_span(queue: Queue, worker: Worker, spans: Spans) -> None:
    with caller():
        await queue.register(Talks, 1)

    line = await logged(queue, worker)

    trace_id, span_id = identity(spans.one(f"process {MODULE}/Talks"))
    assert line == f"{trace_id:032x} {span_id:016x}"


async def test_lines_name_the_sender_where_the_worker_has_no_spans(queue: Queue, worker: Worker) -> None:
    with recorded() as spans, caller():
        await queue.register(Talks, 1)
    with provided(trace.NoOpTracerProvider()):
        line = await logged(queue, worker)

    trace_id, span_id = identity(spans.one(f"send {MODULE}/Talks"))
    assert line == f"{trace_id:032x} {span_id:016x}"


async def test_lines_outside_of_traces_have_no_such_fields(queue: Queue, worker: Worker) -> None:
    await queue.register(Talks, 1)

    assert await logged(queue, worker) == "- -"
