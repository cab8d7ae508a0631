"""A declared route stores every request where the written one stores it: in the same pipes, in the same order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from shardq import Handler, Queue, Route
from shardq.drivers import RuntimeStorage
from shardq.handling.route_by import REMEMBERED
from shardq.model import Part
from tests.support.unhurried import unhurried

PRIORITIES = [5, 0, -1]


class Job(NamedTuple):
    key: Any
    priority: int
    number: int


class Text(str):
    """Equal to no other text, although their bytes are the same, and their threads with them."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


class Base(Handler[Job]):
    priorities = PRIORITIES

    def perform(self, *requests: Job) -> None:
        """No worker serves it here."""


class Noting(RuntimeStorage):
    """Notes what it is given, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[str, list[bytes]]] = []

    async def append(self, parts: Sequence[Part], **options: Any) -> int | None:
        self.given += [(pipe, list(messages)) for pipe, messages in parts]
        return await super().append(parts, **options)


keys = st.one_of(
    st.integers(0, 20),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.booleans(),
    st.text(max_size=80),
    st.binary(max_size=80),
)
#: Keys and priorities, call by call. The keys are of many kinds in one handler, and come again.
calls = st.lists(keys, min_size=1, max_size=12).flatmap(
    lambda few: st.lists(
        st.lists(st.tuples(st.sampled_from(few), st.sampled_from(PRIORITIES)), max_size=20), max_size=4
    )
)
modes = st.sampled_from(["name", "function", "unusual"])
counts = st.one_of(st.none(), st.integers(1, 40))


def key_of(request: Job) -> Any:
    return request.key


def unusual_key_of(request: Job) -> Any:
    """Of a type that is not quite text, or not quite bytes."""
    kinds: dict[type, Any] = {str: Text, bytes: bytearray}
    return kinds.get(type(request.key), int)(request.key)


def pair(mode: str, count: int | None, *, prioritised: bool) -> tuple[type[Handler[Any]], type[Handler[Any]]]:
    """A handler that declares its routes, and one that writes the same. Both have one name, hence the same pipes."""
    read = unusual_key_of if mode == "unusual" else key_of

    class Declared(Base):
        route_by = "key" if mode == "name" else staticmethod(read)
        threads = count
        priority_by = None if not prioritised else "priority" if mode == "name" else lambda request: request.priority

    class Written(Base):
        @classmethod
        def route(cls, *requests: Job) -> list[Route]:
            return [Route.by(read(r), r.priority if prioritised else 0, threads=count) for r in requests]

    Written.__qualname__ = Declared.__qualname__
    return Declared, Written


def given_by(handler: type[Handler[Any]], sent: Sequence[Sequence[Job]]) -> list[tuple[str, list[bytes]]]:
    """The pipes and the messages that a storage gets by these calls, in order."""
    storage = Noting()
    queue = Queue(storage)
    for requests in sent:
        assert queue.register_sync(handler, *requests) == len(requests)
    return storage.given


@given(calls=calls, mode=modes, count=counts, prioritised=st.booleans())
@unhurried
def test_a_declared_route_stores_what_the_written_one_stores(
    calls: list[list[tuple[Any, int]]], mode: str, count: int | None, prioritised: bool
) -> None:
    numbers = itertools.count()
    sent = [[Job(key, priority, next(numbers)) for key, priority in call] for call in calls]
    declared, written = pair(mode, count, prioritised=prioritised)

    stored = given_by(declared, sent)

    assert stored == given_by(written, sent)
    for requests in sent:
        assert declared.route(*requests) == written.route(*requests)


@given(calls=calls, count=counts, prioritised=st.booleans())
@unhurried
def test_it_takes_out_what_it_put_in(calls: list[list[tuple[Any, int]]], count: int | None, prioritised: bool) -> None:
    numbers = itertools.count()
    sent = [[Job(key, priority, next(numbers)) for key, priority in call] for call in calls]
    declared, written = pair("name", count, prioritised=prioritised)
    queue = Queue(RuntimeStorage())

    for requests in sent:
        queue.register_sync(written, *requests)
    for requests in sent:
        assert queue.register_sync(declared, *requests, if_not_exists=True) == 0
        assert queue.cancel_sync(declared, *requests) == len(requests)


def test_more_keys_than_are_remembered_have_their_threads_all_the_same() -> None:
    declared, written = pair("name", 16, prioritised=False)
    sent = [
        [Job(f"user-{n % (REMEMBERED + 50)}", 0, n) for n in range(start, start + 5_000)] for start in (0, 14_000, 2)
    ]

    assert given_by(declared, sent) == given_by(written, sent)
