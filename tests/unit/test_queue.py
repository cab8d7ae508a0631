"""Registering: what is refused, in what words, and that nothing of a refused call is stored."""

from __future__ import annotations

from typing import Any

import pytest

from shardq import Handler, Queue, Route, Supervisor, connect
from shardq.drivers import RuntimeStorage
from shardq.errors import ConfigurationError, HandlerError, MessageTooLarge, RequestError
from shardq.model import handler_name
from tests.support.drivers import MIB
from tests.support.ids import text_of
from tests.unit.queue_handlers import (
    AtOnce,
    BadPriorities,
    Either,
    Failing,
    Job,
    Later,
    NoType,
    Plain,
    Task,
    Threaded,
    jobs,
    stored,
)


async def test_requests_go_to_the_tubes_of_their_routes(queue: Queue) -> None:
    assert await queue.register(Threaded, *jobs(7)) == 7

    name = handler_name(Threaded)
    assert sorted(await stored(queue)) == [f"{name}/0/5", f"{name}/1/5", f"{name}/2/5"]
    assert [await queue.storage.length(f"{name}/{thread}/5") for thread in range(3)] == [3, 2, 2]


async def test_nothing_to_register_is_nothing_registered(queue: Queue) -> None:
    assert await queue.register(Plain) == 0

    assert await stored(queue) == []


@pytest.mark.parametrize("handler", [Later, AtOnce])
async def test_route_may_be_a_coroutine(queue: Queue, handler: type[Handler[Job]]) -> None:
    assert await queue.register(handler, *jobs(2)) == 2

    assert len(await stored(queue)) == 2


@pytest.mark.parametrize("wrong", [Task(1), (1, None), {"number": 1}, None, "text", 5])
async def test_a_request_of_another_type_is_refused(queue: Queue, wrong: Any) -> None:
    with pytest.raises(RequestError, match=rf"request 2, .* is of type {type(wrong).__name__}, but .*Plain takes Job"):
        await queue.register(Plain, Job(0), Job(1), wrong, Job(3))

    assert await stored(queue) == []


@pytest.mark.parametrize(
    ("kind", "wrong"), [(list[Job], (Job(1),)), (list[Job], Job(1)), (dict[str, Job], [Job(1)]), (tuple[int, ...], [1])]
)
async def test_so_is_one_that_is_another_container(queue: Queue, kind: Any, wrong: Any) -> None:
    class OfContainers(Handler[Any]):
        def perform(self, *requests: Any) -> None: ...

    OfContainers.perform.__annotations__["requests"] = kind

    with pytest.raises(RequestError, match=f"request 0, .* is of type {type(wrong).__name__}, but"):
        await queue.register(OfContainers, wrong)

    assert await stored(queue) == []


async def test_a_request_that_cannot_be_encoded_is_refused(queue: Queue) -> None:
    with pytest.raises(RequestError, match=r"request \d, .*object.* cannot be encoded"):
        await queue.register(Threaded, Job(0), Job(1, object()))

    assert await stored(queue) == []


async def test_the_position_of_a_refused_request_is_that_in_the_call(queue: Queue) -> None:
    with pytest.raises(RequestError, match="request 4,"):
        await queue.register(Threaded, *jobs(4), Job(4, object()))


async def test_a_request_of_either_type_is_taken(queue: Queue) -> None:
    assert await queue.register(Either, Job(1), Task(2)) == 2

    with pytest.raises(RequestError):
        await queue.register(Either, Job(1), "text")


ROUTES = [
    ([Route()], "1 route for 2 requests"),
    ([Route()] * 3, "3 routes for 2 requests"),
    ([], "0 routes for 2 requests"),
    (7, "7 for 2 requests"),
    (iter([Route(), Route()]), "for 2 requests"),
    ([Route(), (0, 0)], "(0, 0), which is no Route"),
    ([Route(), None], "None, which is no Route"),
    ([Route(0, 5), Route(-1, 5)], "thread -1"),
    ([Route(0, 5), Route(1.0, 5)], "thread 1.0"),  # type: ignore[arg-type]
    ([Route(0, 5), Route("1", 5)], "thread '1'"),  # type: ignore[arg-type]
    ([Route(0, 5), Route(10**310, 5)], "of at most 300 digits"),
    ([Route(0, 5), Route(10**5000, 5)], "thread <an integer of 16,610 bits>"),
    ([Route(0, 5), Route(True, 5)], "thread True"),
    ([Route(0, 5), Route([1], 5)], "thread [1]"),  # type: ignore[arg-type]
    ([Route(0, 5), Route(0, 4)], "priority 4"),
    ([Route(1, 5), Route(0, 5.0)], "priority 5.0"),  # type: ignore[arg-type]
    ([Route(0, 5), Route(0, None)], "priority None"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("routes", "words"), ROUTES, ids=[words for _, words in ROUTES])
async def test_a_bad_route_is_refused_with_what_it_was(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, routes: Any, words: str
) -> None:
    monkeypatch.setattr(Threaded, "result", routes)

    with pytest.raises(HandlerError) as raised:
        await queue.register(Threaded, *jobs(2))

    assert words in str(raised.value)
    assert f"{handler_name(Threaded)}.route()" in str(raised.value)
    assert await stored(queue) == []


async def test_without_priorities_only_0_is_allowed(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Threaded, "priorities", None)

    with pytest.raises(HandlerError, match=r"priority 5, which is not among its priorities \[0\]"):
        await queue.register(Threaded, *jobs(2))

    assert await stored(queue) == []


async def test_the_refused_priority_is_told_with_those_allowed(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Threaded, "result", [Route(0, 4)])

    with pytest.raises(HandlerError, match=r"\[-1, 0, 5\]"):
        await queue.register(Threaded, Job(1))


async def test_an_error_of_route_itself_comes_through(queue: Queue) -> None:
    with pytest.raises(KeyError, match="its own error"):
        await queue.register(Failing, Job(1))

    assert await stored(queue) == []


class Idle(Handler[Job]):
    """Says nowhere what to do."""


class Endless(Plain):
    timeout_s = 1e10


@pytest.mark.parametrize(
    "handler", [NoType, BadPriorities, Idle, Endless, Job, "Plain", Plain(), None, [], 5], ids=text_of
)
async def test_what_is_no_usable_handler_is_refused(queue: Queue, handler: Any) -> None:
    with pytest.raises(HandlerError):
        await queue.register(handler, Job(1))
    with pytest.raises(HandlerError):
        await queue.cancel(handler, Job(1))
    with pytest.raises(HandlerError):
        await queue.recurrent.cancel(handler, Job(1))

    assert await stored(queue) == []


async def test_a_handler_that_does_nothing_is_told_what_to_write(queue: Queue) -> None:
    with pytest.raises(HandlerError, match=r"Idle overrides neither handle\(\) nor perform\(\): write the one that"):
        await queue.register(Idle, Job(1))


async def test_requests_in_a_list_are_told_how_to_be_given(queue: Queue) -> None:
    with pytest.raises(RequestError, match=r"is of type list, but .*Plain takes Job: give requests one by one, as in"):
        await queue.register(Plain, jobs(2))


@pytest.mark.parametrize("storage", ["memory://", None, 5, RuntimeStorage], ids=text_of)
def test_what_is_no_storage_is_refused(storage: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"is no storage: write Queue\(RuntimeStorage\(\)\), or `await connect"
    ):
        Queue(storage)


async def test_arguments_of_another_kind_are_named(queue: Queue) -> None:
    wrong: Any = {"capacity_bytes": 5}
    with pytest.raises(ConfigurationError, match=r"settings=\{.*\} cannot be: give StorageSettings\(\.\.\.\), or None"):
        RuntimeStorage(wrong)
    with pytest.raises(ConfigurationError, match=r"cannot be: give StorageSettings"):
        await connect("memory://", wrong)
    with pytest.raises(ConfigurationError, match=r"cannot be: give SupervisorSettings"):
        Supervisor(Plain, settings=wrong)
    with pytest.raises(ConfigurationError, match=r"is no serializer"):
        Queue(RuntimeStorage(), wrong)
    five: Any = 5
    with pytest.raises(ConfigurationError, match=r"5 is no id of one dead letter"):
        await queue.dead_letters.get(five)
    with pytest.raises(HandlerError, match=r"5 is no handler class"):
        await queue.result("ticket", five)
    function: Any = handler_name
    with pytest.raises(HandlerError, match=r"handler_name is a function .*: `supervisor\.map\(FUNCTION, items\)`"):
        await queue.register(function, 5)


async def test_a_handler_that_others_cannot_import_is_refused_where_they_serve(shared: Queue) -> None:
    class Local(Plain):
        pass

    with pytest.raises(HandlerError, match=r"Local is defined inside a function"):
        await shared.register(Local, Job(1))

    assert await stored(shared) == []


async def test_a_local_handler_is_fine_where_no_other_process_serves(queue: Queue) -> None:
    class Local(Plain):
        pass

    assert await queue.register(Local, Job(1)) == 1


async def test_too_long_a_name_is_refused_before_anything_is_stored(shared: Queue, monkeypatch: Any) -> None:
    monkeypatch.setattr(Threaded, "result", [Route(0, 5), Route(10**300, 5)])

    with pytest.raises(HandlerError, match="longer than"):
        await shared.register(Threaded, *jobs(2))

    assert await stored(shared) == []


async def test_what_can_never_fit_is_refused_before_anything_is_stored(shared: Queue) -> None:
    with pytest.raises(MessageTooLarge):
        await shared.register(Threaded, Job(0), Job(1, bytes(2 * MIB)))

    assert await stored(shared) == []
