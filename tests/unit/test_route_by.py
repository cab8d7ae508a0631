"""Routes that a handler declares: what they may say, what is refused in which words, and which of two routes counts."""

from __future__ import annotations

import subprocess
import sys
import types
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pytest
from pydantic import BaseModel

from shardq import Handler, Queue, Route
from shardq.drivers import RuntimeStorage
from shardq.errors import HandlerError, QueueFull, RequestError
from shardq.model import handler_name
from shardq.settings import StorageSettings
from shardq.supervisor.code.handlers import load_handlers
from shardq.testing import LocalQueue
from tests.support.drivers import MIB
from tests.support.programs import ROOT


class Mail(NamedTuple):
    user_id: Any
    urgency: Any = 0
    text: str = ""


class Base(Handler[Mail]):
    def perform(self, *requests: Mail) -> None:
        """No worker serves it here."""


class Declared(Base):
    route_by = "user_id"
    threads = 16


class Wrong(Base):
    """At module level, so that a family can be asked to serve it."""

    route_by = "user"


def declaring(base: type[Handler[Any]] = Base, **attributes: Any) -> type[Handler[Any]]:
    return types.new_class("Made", (base,), exec_body=lambda body: body.update({"__module__": __name__} | attributes))


async def pipes_of(queue: Queue) -> list[str]:
    """Threads and priorities of all that is stored."""
    return ["/".join(pipe.split("/")[2:]) for pipe in await queue.storage.pipes()]


# What it does


async def test_requests_with_one_key_go_to_one_thread_in_their_order(queue: Queue) -> None:
    mails = [Mail(f"user-{n % 40}", text=str(n)) for n in range(400)]

    assert await queue.register(Declared, *mails) == 400

    stored = {pipe: await queue.storage.range(pipe, 400) for pipe in await queue.storage.pipes()}
    assert set(stored) == {f"{handler_name(Declared)}/{Route.by(m.user_id, threads=16).thread}/0" for m in mails}
    for pipe, batch in stored.items():
        expected = [m for m in mails if pipe.endswith(f"/{Route.by(m.user_id, threads=16).thread}/0")]
        assert queue.serializer.decode(Mail, batch) == expected


async def test_without_threads_each_key_is_a_thread(queue: Queue) -> None:
    await queue.register(declaring(route_by="user_id"), Mail(7), Mail("ann"), Mail(-1), Mail(7), Mail("ann"))

    assert sorted(await pipes_of(queue)) == sorted(f"{Route.by(key).thread}/0" for key in (7, "ann", -1))


async def test_a_priority_may_be_declared_too(queue: Queue) -> None:
    handler = declaring(route_by="user_id", priorities=[9, 0], priority_by=lambda mail: 9 if mail.urgency else 0)

    await queue.register(handler, Mail(1), Mail(1, 5), Mail(2, 1), Mail(1, 1))

    assert sorted(await pipes_of(queue)) == ["1/0", "1/9", "2/9"]


@pytest.mark.parametrize("seed", ["0", "1", "12345"])
def test_the_threads_are_the_same_in_every_process(seed: str) -> None:
    code = "from tests.unit.test_route_by import *; print(Declared.route(*(Mail(f'user-{n}') for n in range(5))))"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
    )

    assert ran.stdout.strip() == str([Route.by(f"user-{n}", threads=16) for n in range(5)])


class Account(BaseModel):
    user_id: int


@dataclass
class Order:
    number: int

    @property
    def user_id(self) -> int:
        return self.number % 10

    @cached_property
    def shop(self) -> str:
        return f"shop-{self.number}"


class Struct(msgspec.Struct):
    user_id: str


@pytest.mark.parametrize(
    ("request_", "key", "thread"),
    [
        (Account(user_id=3), "user_id", 3),
        (Order(13), "number", 13),
        (Order(13), "user_id", 3),
        (Order(13), "shop", Route.by("shop-13").thread),
        (Struct("x"), "user_id", Route.by("x").thread),
        (Mail(4), attrgetter("user_id"), 4),
        (Mail(4), lambda mail, factor=2: mail.user_id * factor, 8),
        (Mail("4"), staticmethod(lambda mail: int(mail.user_id)), 4),
        (Mail(4), classmethod(lambda cls, mail: mail.user_id + len(cls.__name__)), 8),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_key_is_a_field_or_what_a_function_returns(queue: Queue, request_: Any, key: Any, thread: int) -> None:
    await queue.register(declaring(Handler[type(request_)], route_by=key, perform=lambda self, *rs: None), request_)

    assert await pipes_of(queue) == [f"{thread}/0"]


async def test_all_calls_find_what_register_stored(queue: Queue) -> None:
    mails = [Mail(n, text="x") for n in range(40)]
    await queue.register(Declared, *mails)

    assert await queue.register(Declared, *mails, Mail(0), if_not_exists=True) == 1
    assert await queue.cancel(Declared, *mails[:30]) == 30
    assert await queue.register(Declared, *mails, recurrent=3600) == 40
    assert await queue.register(Declared, *mails, recurrent=7200) == 40
    assert len(await queue.recurrent.list()) == 40
    assert await queue.recurrent.cancel(Declared, *mails) == 40
    assert await queue.register(Declared, *mails[:30], defer=60, if_not_exists=True) == 30
    assert await queue.cancel(Declared, *mails) == 40


async def test_the_queue_for_tests_handles_it_thread_by_thread() -> None:
    seen: list[list[Any]] = []

    class Seen(Declared):
        def perform(self, *requests: Mail) -> None:
            seen.append([mail.user_id for mail in requests])

    queue = LocalQueue()
    await queue.register(Seen, *map(Mail, [1, 2, 1, 2, 1]))
    await queue.drain()

    assert sorted(seen) == [[1, 1, 1], [2, 2]]
    assert sorted(queue.registered(Seen)) == sorted(map(Mail, [1, 1, 1, 2, 2]))


async def test_without_room_the_error_has_what_was_not_accepted() -> None:
    queue = Queue(RuntimeStorage(StorageSettings(capacity_bytes=MIB, when_full="raise")))
    mails = [Mail(n % 8, text="x" * 30_000) for n in range(64)]

    with pytest.raises(QueueFull) as raised:
        await queue.register(declaring(route_by="user_id"), *mails)

    left = raised.value.not_accepted
    accepted = (await queue.storage.backlog()).accepted
    assert left
    assert len(left) == 64 - accepted
    assert left == [mail for mail in mails if mail in left]


# Which of two counts


class Written(Base):
    @classmethod
    def route(cls, *requests: Mail) -> list[Route]:
        return [Route(100)] * len(requests)


def one_hundred(cls: Any, *requests: Any) -> list[Route]:
    return [Route(100)] * len(requests)


@pytest.mark.parametrize(
    ("handler", "thread"),
    [
        (declaring(Written, route_by="user_id"), 7),
        (declaring(declaring(Written, route_by="user_id")), 7),
        (declaring(declaring(Written, route_by="user_id"), route_by=None), 100),
        (declaring(declaring(Written, route_by="user_id"), route=classmethod(one_hundred)), 100),
        (declaring(Declared, route=classmethod(one_hundred)), 100),
        (declaring(Declared, threads=None), 7),
        (declaring(Declared, route_by=lambda mail: mail.user_id + 1, threads=None), 8),
        (declaring(Declared, route_by=None, threads=None), 0),
        (type("Mixed", (type("ByUser", (), {"route_by": "user_id"}), Written), {}), 7),
        (type("Own", (Base,), {"threads": "its own", "route": classmethod(one_hundred)}), 100),
    ],
)
async def test_what_the_nearest_class_writes_counts(queue: Queue, handler: type[Handler[Any]], thread: int) -> None:
    await queue.register(handler, Mail(7))

    assert await pipes_of(queue) == [f"{thread}/0"]


async def test_a_route_may_change_the_declared_one(queue: Queue) -> None:
    class Urgent(Declared):
        priorities: ClassVar[list[int] | None] = [5, 0]

        @classmethod
        def route(cls, *requests: Mail) -> list[Route]:
            return [route._replace(priority=5) for route in super().route(*requests)]

    await queue.register(Urgent, Mail("ann"))

    assert await pipes_of(queue) == [f"{Route.by('ann', threads=16).thread}/5"]


# What is refused


class Keyed(TypedDict):
    user_id: int


class Wanting(NamedTuple):
    name: str
    size: int


Pair = namedtuple("Pair", ["left", "right"])


async def by_await(request: Any) -> int:
    return 1


def by_yield(request: Any) -> Any:
    yield 1


def of(kind: Any, **attributes: Any) -> type[Handler[Any]]:
    return declaring(Handler[kind], perform=lambda self, *requests: None, **attributes)


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (of(Wanting, route_by="user_id"), "whose fields are name, size: write `route_by = 'name'`"),
        (of(Pair, route_by="count"), "whose fields are left, right: write `route_by = 'left'`"),
        (of(Order, route_by="user.id"), "route_by names 'user.id', but requests are of type"),
        (of(Account, route_by="model_config"), "whose fields are user_id: write `route_by = 'user_id'`"),
        (of(Mail | Wanting, route_by="user_id"), "Wanting, whose fields are name, size"),
        (of(int, route_by="user_id"), "which has no fields: write a function of one request, as in `route_by = lambda"),
        (of(Keyed, route_by="user_id"), "`route_by = lambda request: request['user_id']`"),
        (of(dict[str, int], route_by="user_id"), "`route_by = lambda request: request['user_id']`"),
        (declaring(route_by=7), "route_by is 7: write a field's name, or a function of one request, as in `route_by ="),
        (declaring(route_by=property(lambda self: 1)), "`route_by = lambda request: request.user_id`"),
        (declaring(route_by=by_await), "route_by is `async def`, but not awaited: write"),
        (declaring(route_by=by_yield), "route_by has a `yield`, so that it returns no key: write"),
        (declaring(route_by=lambda: 1), "route_by is called with one request alone, which it does not take"),
        (declaring(route_by=lambda self, request: 1), "route_by is called with one request alone"),
        (declaring(route_by="user_id", route=classmethod(one_hundred)), "has both route() and route_by: delete one"),
        (
            declaring(declaring(route_by="user_id", route=classmethod(one_hundred))),
            "Made has both route() and route_by",
        ),
        (declaring(priority_by="urgency", route=classmethod(one_hundred)), "has both route() and priority_by"),
        (declaring(route_by="user_id", threads=0), "threads must be None or a number from 1 up, as in `threads = 16`"),
        (declaring(route_by="user_id", threads=True), "threads must be None or a number from 1 up"),
        (declaring(route_by="user_id", threads="16"), "not '16'"),
        (declaring(route_by="user_id", threads=1.5), "not 1.5"),
        (declaring(threads=16), "threads needs a route_by: write `route_by = ...`"),
        (declaring(Declared, route_by=None), "threads needs a route_by: write"),
        (declaring(priority_by="urgency"), "priority_by needs a route_by: write"),
        (declaring(route_by="user_id", priority_by="urgency"), "priority_by needs priorities: list them, as in `prio"),
        (declaring(route_by="user_id", priority_by="urgent", priorities=[0, 1]), "priority_by names 'urgent', but"),
        (
            declaring(route_by="user_id", priority_by=3, priorities=[0, 1]),
            "`priority_by = lambda request: request.prio",
        ),
        (declaring(route_by="user_id", priorities=[1, 2]), "gives all requests priority 0, which is not among its"),
    ],
)
async def test_what_cannot_be_is_refused_with_the_line_to_write(
    queue: Queue, handler: type[Handler[Any]], words: str
) -> None:
    for call in (queue.register, queue.cancel, queue.recurrent.cancel):
        with pytest.raises(HandlerError) as raised:
            await call(handler)
        assert words in str(raised.value)
    assert await queue.storage.pipes() == []


def test_a_family_does_not_start_with_it() -> None:
    with pytest.raises(HandlerError, match="route_by names 'user', but requests are of type"):
        load_handlers([f"{__name__}:Wrong"])


@pytest.mark.parametrize(
    ("attributes", "mail", "words"),
    [
        (
            {},
            Mail(None),
            "the key None by {}.route_by, of type NoneType, but a key is text, bytes or an integer: give it",
        ),
        ({}, Mail(None), '`lambda request: request.user_id or "none"`'),
        (
            {},
            Mail(1.5),
            "the key 1.5 by {}.route_by, of type float, but a key is text, bytes or an integer: make a text",
        ),
        ({}, Mail(1.0), "`lambda request: str(request.user_id)`"),
        ({}, Mail((1, 2)), "make a text of it"),
        ({}, Mail([]), "make a text of it"),
        (
            {"route_by": lambda m: UUID(int=5) if m.user_id == 5 else m.user_id},
            Mail(5),
            "of type UUID, but a key is text",
        ),
        (
            {"priorities": [0, 1], "priority_by": "urgency"},
            Mail(1, 2),
            "the priority 2 by {}.priority_by, which is not",
        ),
        ({"priorities": [0, 1], "priority_by": "urgency"}, Mail(1, True), "handler's priorities [0, 1]"),
        ({"priorities": [0, 1], "priority_by": "urgency"}, Mail(1, []), "the priority [] by"),
    ],
)
async def test_a_request_without_a_key_is_refused_and_none_of_its_call_is_stored(
    queue: Queue, attributes: dict[str, Any], mail: Mail, words: str
) -> None:
    handler = declaring(Declared, **attributes)

    # Before it come requests whose keys are equal to some of those that cannot be.
    with pytest.raises(RequestError) as raised:
        await queue.register(handler, Mail(1), Mail(1, 1), mail)

    assert str(raised.value).startswith("request 2, Mail(")
    assert words.format(handler_name(handler)) in str(raised.value)
    assert await queue.storage.pipes() == []


async def test_a_request_of_an_open_type_without_the_field_is_refused(queue: Queue) -> None:
    with pytest.raises(RequestError, match=r"request 1, 3, has no user_id, which .*Made.route_by names: register"):
        await queue.register(of(Any, route_by="user_id"), Mail(1), 3)


async def test_what_its_function_raises_comes_as_it_is(queue: Queue) -> None:
    with pytest.raises(AttributeError, match="its own"):
        await queue.register(declaring(route_by=raising(AttributeError("its own"))), Mail(1))


def raising(error: Exception) -> Callable[[Any], Any]:
    def raises(request: Any) -> Any:
        raise error

    return raises
