"""The step of a plain call in C: it is that which Python finds, and what is not plain is left to Python."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardq import Handler, Route
from shardq._core.choice import extension
from shardq.errors import HandlerError, ShardqError
from shardq.handling.info import HandlerInfo
from shardq.handling.pipes import REMEMBERED, Pipes, PipesOfRoutes
from shardq.handling.plain import OneStep
from shardq.handling.prepared import prepare
from shardq.model import Limits, Part
from tests.support.engines import needs_c
from tests.support.unhurried import unhurried

pytestmark = needs_c

ROOMY = Limits(100, 1_000, 100_000)
NAME = "app.jobs/Resize"


class Job(NamedTuple):
    key: Any
    priority: Any


class Written(Handler[Job]):
    priorities = [5, 0, -1]  # noqa: RUF012

    def perform(self, *requests: Job) -> None:
        """No worker serves it here."""


class ByKey(Written):
    route_by = "key"


class ByBoth(ByKey):
    priority_by = "priority"


def in_c(kind: type, places: Any, messages: Any, pipes: Any, limits: Any = ROOMY) -> list[Part] | None:
    engine = extension()
    assert engine is not None
    step: list[Part] | None = engine.one_step(kind, places, messages, pipes, limits)
    return step


def in_python(*call: Any) -> None:
    """Leaves each call to Python."""


def pipes_of_routes() -> PipesOfRoutes:
    return PipesOfRoutes(NAME, (5, 0, -1))


# What is plain


def test_messages_are_grouped_by_the_pipes_of_their_routes_in_the_order_of_the_call() -> None:
    routes = [Route(2, 5), Route(1, 0), Route(2, 5), Route(2, -1), Route(1, 0)]
    step = in_c(Route, routes, [b"a", b"b", b"c", b"d", b"e"], pipes_of_routes())
    assert step == [(f"{NAME}/2/5", [b"a", b"c"]), (f"{NAME}/1/0", [b"b", b"e"]), (f"{NAME}/2/-1", [b"d"])]


def test_places_may_be_numbers_or_pairs() -> None:
    messages = [b"a", b"b", b"c"]
    assert in_c(int, [7, 1 << 62, 7], messages, Pipes(NAME, int)) == [
        (f"{NAME}/7/0", [b"a", b"c"]),
        (f"{NAME}/{1 << 62}/0", [b"b"]),
    ]
    assert in_c(tuple, [(7, 5), (7, 0), (7, 5)], messages, Pipes(NAME, tuple)) == [
        (f"{NAME}/7/5", [b"a", b"c"]),
        (f"{NAME}/7/0", [b"b"]),
    ]


def test_a_name_is_measured_in_bytes() -> None:
    name = "app.jobs/Gr\u00f6\u00dfe"
    pipe = f"{name}/1/0"
    nbytes = len(pipe.encode())
    assert in_c(int, [1], [b"x"], Pipes(name, int), ROOMY._replace(key_bytes=nbytes)) == [(pipe, [b"x"])]
    assert in_c(int, [1], [b"x"], Pipes(name, int), ROOMY._replace(key_bytes=nbytes - 1)) is None


def test_a_step_of_many_tubes_has_each_once() -> None:
    numbers, limits = range(512), ROOMY._replace(parts=128)
    places = [(number % 2 << 40, number % 128 // 2 * 31) for number in numbers]
    step = in_c(tuple, places, [b"%d" % number for number in numbers], Pipes(NAME, tuple), limits)
    assert step
    assert [(pipe, [int(message) for message in messages]) for pipe, messages in step] == [
        (f"{NAME}/{place[0]}/{place[1]}", [number for number in numbers if places[number] == place])
        for place in dict.fromkeys(places)
    ]
    assert len(step) == 128


def test_pipes_are_remembered_and_no_more_than_so_many() -> None:
    pipes = Pipes(NAME, int)
    [(first, _)] = in_c(int, [7], [b"a"], pipes) or []
    [(again, _)] = in_c(int, [7], [b"b"], pipes) or []
    assert first is again
    for thread in range(REMEMBERED + 10):
        assert in_c(int, [thread], [b"x"], pipes) == [(f"{NAME}/{thread}/0", [b"x"])]
    assert 0 < len(pipes) <= REMEMBERED


def test_it_keeps_nothing_of_a_call() -> None:
    message, place, pipes = bytes(50), (123_456, 0), Pipes(NAME, tuple)
    in_c(tuple, [place], [message], pipes)
    before = sys.getrefcount(message), sys.getrefcount(place)
    for limits in (ROOMY, ROOMY._replace(nbytes=1), ROOMY._replace(key_bytes=1)):
        for _ in range(10):
            in_c(tuple, [place] * 3, [message] * 3, pipes, limits)
            in_c(tuple, [place] * 3, [message, message, "odd"], pipes, limits)
    assert (sys.getrefcount(message), sys.getrefcount(place)) == before


# What is not


@pytest.mark.parametrize(
    "routes",
    [
        [Route(True)],
        [Route(1.0)],  # type: ignore[arg-type]
        [Route(1 << 63)],
        [Route("a")],  # type: ignore[arg-type]
        [Route(1, False)],
        [(1, 0)],
        [1],
        (Route(1),),
        [Route(1), Route(1)],
        [],
        None,
    ],
    ids=repr,
)
def test_places_that_are_odd_are_left_to_python(routes: Any) -> None:
    assert in_c(Route, routes, [b"a"], {Route(1, 0): "known"}) is None


def test_a_route_of_three_numbers_is_left_to_python() -> None:
    assert in_c(Route, [tuple.__new__(Route, (1, 0, 0))], [b"a"], pipes_of_routes()) is None


@pytest.mark.parametrize("messages", [(b"a",), [bytearray(b"a")], ["a"], [], None], ids=repr)
def test_messages_that_are_odd_are_left_to_python(messages: Any) -> None:
    assert in_c(Route, [Route()], messages, pipes_of_routes()) is None


@pytest.mark.parametrize(
    "limits",
    [
        *(ROOMY._replace(parts=1), ROOMY._replace(messages=2), ROOMY._replace(nbytes=8)),
        *(ROOMY._replace(nbytes=14, part_bytes=3), ROOMY._replace(key_bytes=len(NAME) + 3)),
        *(ROOMY._replace(parts=1 << 70), ROOMY[:5], list(ROOMY)),
    ],
    ids=repr,
)
def test_what_is_no_step_is_left_to_python(limits: Any) -> None:
    places, messages = [Route(1), Route(2), Route(1)], [b"one", b"two", b"six"]
    assert in_c(Route, places, messages, pipes_of_routes(), ROOMY._replace(parts=2, messages=3, nbytes=9))
    assert in_c(Route, places, messages, pipes_of_routes(), ROOMY._replace(nbytes=15, part_bytes=3))
    assert in_c(Route, places, messages, pipes_of_routes(), limits) is None


def test_more_tubes_than_it_can_count_are_left_to_python() -> None:
    assert in_c(int, list(range(129)), [b"x"] * 129, Pipes(NAME, int), ROOMY._replace(parts=1_000)) is None


@pytest.mark.parametrize("pipe", ["app.jobs/\ud800/1/0", b"app.jobs/Resize/1/0", None], ids=repr)
def test_names_that_are_odd_are_left_to_python(pipe: Any) -> None:
    assert in_c(int, [1], [b"x"], {1: pipe}) is None


def test_a_route_that_cannot_be_is_refused_in_the_words_of_python() -> None:
    with pytest.raises(HandlerError, match="priority 7, which is not among its priorities"):
        in_c(Route, [Route(1, 5), Route(1, 7)], [b"a", b"b"], pipes_of_routes())


def test_messages_that_change_while_a_pipe_is_found_are_left_to_python() -> None:
    messages = [b"a", b"b"]

    class Changing(Pipes):
        def __missing__(self, place: Any) -> str:
            messages.clear()
            return "pipe"

    assert in_c(int, [1, 2], messages, Changing(NAME, int)) is None


# Both


numbers = st.one_of(
    st.integers(0, 4), st.sampled_from([5, 7, -1, 1 << 63, 1 << 1024, True, 1.0, "a", None]), st.integers()
)
routes = st.one_of(st.builds(Route, st.integers(0, 4), st.sampled_from([5, 0, -1])), st.builds(Route, numbers, numbers))


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    nbytes = draw(st.integers(1, 200))
    of_step = draw(st.integers(1, 5)), draw(st.integers(1, 40)), nbytes, draw(st.integers(0, 20))
    return Limits(*of_step, nbytes + draw(st.integers(0, 9)), draw(st.sampled_from([40, 1_000])))


def outcomes(info: HandlerInfo, engine: OneStep, calls: Sequence[tuple[Any, list[bytes], Limits]]) -> list[Any]:
    """What comes of these calls, one after another."""
    info.pipes().one_step = engine
    found = list[Any]()
    for places, messages, limit in calls:
        requests = places if info.by else [None] * len(messages)
        try:
            where = info.by.places(requests) if info.by else places
            call = prepare(info, requests, where, messages, limit)
            found.append((call.steps, [call.pipes[place] for place in call.places], call.left(0)))
        except (ShardqError, ValueError) as error:
            found.append((type(error), str(error)))
    return found


def messages_for(places: list[Any]) -> st.SearchStrategy[tuple[list[Any], list[bytes]]]:
    size = len(places)
    return st.tuples(st.just(places), st.lists(st.binary(max_size=12), min_size=size, max_size=size))


@unhurried
@given(
    st.lists(st.tuples(st.lists(routes, max_size=12).flatmap(messages_for), limits()), max_size=5),
    st.sampled_from([list, tuple]),
)
def test_both_find_the_same_for_any_routes(calls: list[tuple[Any, Limits]], container: type) -> None:
    its = [(container(places), messages, limit) for (places, messages), limit in calls]
    assert outcomes(HandlerInfo(Written), in_c, its) == outcomes(HandlerInfo(Written), in_python, its)


@unhurried
@given(
    st.lists(
        st.tuples(
            st.lists(st.builds(Job, numbers, st.sampled_from([5, 0, -1, 7])), max_size=12).flatmap(messages_for),
            limits(),
        ),
        max_size=5,
    ),
    st.sampled_from([ByKey, ByBoth]),
)
def test_both_find_the_same_for_any_keys(calls: list[tuple[Any, Limits]], handler: type[Handler[Any]]) -> None:
    its = [(requests, messages, limit) for (requests, messages), limit in calls]
    assert outcomes(HandlerInfo(handler), in_c, its) == outcomes(HandlerInfo(handler), in_python, its)
