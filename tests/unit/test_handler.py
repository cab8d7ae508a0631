"""What is read off a handler class: its request type, its priorities, its name."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Generic, NamedTuple, TypeVar

import pytest

from shardq import Handler, Route
from shardq.errors import HandlerError, shown
from shardq.handler import call, check_importable, find_handler, handling
from shardq.handling.checks import check_failure_rules, check_priorities
from shardq.handling.info import info_of, request_type
from shardq.handling.request_types import concrete_types
from shardq.model import Tube, handler_name
from shardq.settings import LONGEST_S


class Job(NamedTuple):
    number: int


@dataclass
class Task:
    number: int


T = TypeVar("T")
U = TypeVar("U")


class ByBase(Handler[Job]):
    pass


class ByBaseUnannotated(Handler[Job]):
    def perform(self, *requests):  # type: ignore[no-untyped-def]
        pass


class ByHandle(Handler):  # type: ignore[type-arg]
    def handle(self, *requests: Job) -> None:
        pass


class ByPerform(Handler):  # type: ignore[type-arg]
    def perform(self, *requests: Job) -> None:
        pass


class ByAsyncHandle(Handler):  # type: ignore[type-arg]
    async def handle(self, *requests: Job) -> None:
        pass


class ByString(Handler):  # type: ignore[type-arg]
    def handle(self, *requests: Job) -> None:
        pass


class ByOtherName(Handler):  # type: ignore[type-arg]
    def handle(self, *work: Job) -> None:
        pass


class ByInheritedMethod(ByPerform):
    pass


class Middle(Handler[T], Generic[T]):
    def handle(self, *requests: T) -> None:
        pass


class ByGenericMiddle(Middle[Job]):
    pass


class ByGrandchild(ByGenericMiddle):
    pass


class WithResults(Handler[Job, T], Generic[T]):
    def perform(self, *requests):  # type: ignore[no-untyped-def]
        pass


class ByResultsOfMiddle(WithResults[Task]):
    pass


class InAnotherOrder(Handler[U, list[T]], Generic[T, U]):
    def perform(self, *requests: U) -> list[list[T]]:
        return []


class ByAnotherOrder(InAnotherOrder[Task, Job]):
    pass


class ByTexts(Handler["Job", "Task"]):
    pass


ByTextsElsewhere = type("ByTextsElsewhere", (ByTexts,), {"__module__": "collections"})


class AnnotationBeatsBase(Handler[Task]):
    def handle(self, *requests: Job) -> None:
        pass


class HandleBeatsPerform(Handler):  # type: ignore[type-arg]
    def handle(self, *requests: Job) -> None:
        pass

    def perform(self, *requests: Task) -> None:
        pass


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Any:
        return function(*arguments)

    return wrapper


class ByDecorated(Handler):  # type: ignore[type-arg]
    @logged
    def handle(self, *requests: Job) -> None:
        pass


class Mixin:
    def start(self) -> None:
        pass


class ByBaseWithMixin(Mixin, Handler[Job]):
    pass


class Unknown(Handler):  # type: ignore[type-arg]
    def handle(self, *requests) -> None:  # type: ignore[no-untyped-def]
        pass


class UnknownMiddle(Middle):  # type: ignore[type-arg]
    pass


class ByMissingName(Handler):  # type: ignore[type-arg]
    def handle(self, *requests: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
        pass


class Outer:
    class Inner(Handler[Job]):
        pass


@pytest.mark.parametrize(
    "handler",
    [
        ByBase,
        ByBaseUnannotated,
        ByHandle,
        ByPerform,
        ByAsyncHandle,
        ByString,
        ByOtherName,
        ByInheritedMethod,
        ByGenericMiddle,
        ByGrandchild,
        ByResultsOfMiddle,
        ByAnotherOrder,
        ByTexts,
        ByTextsElsewhere,
        AnnotationBeatsBase,
        HandleBeatsPerform,
        ByDecorated,
        ByBaseWithMixin,
        Outer.Inner,
    ],
)
def test_the_request_type_is_found(handler: type[Handler[Any]]) -> None:
    assert request_type(handler) is Job


@pytest.mark.parametrize(
    ("handler", "result"),
    [(ByBase, None), (ByResultsOfMiddle, Task), (ByAnotherOrder, list[Task]), (ByTextsElsewhere, Task)],
)
def test_the_result_type_is_found(handler: type[Handler[Any]], result: Any) -> None:
    assert info_of(handler).result == result


@pytest.mark.parametrize("handler", [Unknown, UnknownMiddle, ByMissingName, Handler])
def test_without_a_request_type_the_error_says_where_to_write_it(handler: type[Handler[Any]]) -> None:
    with pytest.raises(HandlerError, match=rf"{handler.__name__} is not known: annotate"):
        request_type(handler)


@pytest.mark.parametrize(
    ("kind", "types"),
    [
        (Job, {Job}),
        (Job | Task, {Job, Task}),
        (Job | None, {Job, type(None)}),
        (list[Job], {list}),
        (Job | list[int], {Job, list}),
        (Path | None, {type(Path()), type(None)}),
        (Sequence[Job], None),
        (Job | Any, None),
    ],
    ids=["one", "two", "one or none", "list", "one or list", "a path or none", "a sequence", "one or any"],
)
def test_the_classes_of_a_request_type(kind: Any, types: set[type] | None) -> None:
    assert concrete_types(kind) == types


def with_priorities(value: Any) -> type[Handler[Any]]:
    return type("Prioritised", (Handler,), {"priorities": value})


@pytest.mark.parametrize(
    ("given", "order"), [(None, (0,)), ([1], (1,)), ([5, 0, -1], (5, 0, -1)), ((2, 1), (2, 1)), ([1, 2, 1], (1, 2))]
)
def test_priorities_keep_their_order_of_service(given: Any, order: tuple[int, ...]) -> None:
    assert check_priorities(with_priorities(given)) == order


@pytest.mark.parametrize("given", [[], "12", [1.0], [True], [None], 3, {1: 2}, -(10**5000)], ids=type)
def test_priorities_that_are_none_are_refused(given: Any) -> None:
    with pytest.raises(HandlerError, match=r"Prioritised\.priorities must be a list of integers"):
        check_priorities(with_priorities(given))


def with_limit(value: Any, *priorities: int) -> type[Handler[Any]]:
    return type("Limited", (Handler,), {"priorities": priorities or None, "starvation_limit": value})


@pytest.mark.parametrize(("limit", "priorities"), [(None, (1, 2)), (2, (1, 2)), (100, (1, 2)), (2, (1, 2, 1)), (1, ())])
def test_a_starvation_limit_has_a_batch_for_each_priority(limit: Any, priorities: tuple[int, ...]) -> None:
    check_priorities(with_limit(limit, *priorities))


@pytest.mark.parametrize("limit", [1, 0, -3, 2.0, True, "2"])
def test_a_starvation_limit_that_is_none_is_refused(limit: Any) -> None:
    with pytest.raises(HandlerError, match=r"Limited\.starvation_limit must be None or a number from 2 up"):
        check_priorities(with_limit(limit, 5, 0))


@pytest.mark.parametrize("limit_s", [None, 1, 0.5, LONGEST_S])
def test_a_timeout_is_a_number_of_seconds(limit_s: Any) -> None:
    check_failure_rules(type("Limited", (Handler,), {"timeout_s": limit_s}))


@pytest.mark.parametrize(
    "limit_s",
    [0, -1, True, "30", float("inf"), float("nan"), LONGEST_S + 1, 1e300, 10**5000],
    ids=lambda s: shown(s)[:9],
)
def test_a_timeout_that_no_timer_can_keep_is_refused(limit_s: Any) -> None:
    with pytest.raises(
        HandlerError, match=r"Limited\.timeout_s must be None or a number of seconds, .* at most 10 years"
    ):
        check_failure_rules(type("Limited", (Handler,), {"timeout_s": limit_s}))


def test_a_handler_goes_by_module_and_qualified_name() -> None:
    assert handler_name(Outer.Inner) == f"{__name__}/Outer.Inner"
    assert Tube(ByBase, Route(7, 2)).pipe == f"{__name__}/ByBase/7/2"
    assert Tube(ByBase, Route(7, 2)).key == f"{__name__}/ByBase/7"


def test_a_handler_of_the_main_module_goes_by_its_real_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", SimpleNamespace(name="app.jobs"), raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "ByBase", ByBase, raising=False)
    monkeypatch.setattr(ByBase, "__module__", "__main__")

    assert handler_name(ByBase) == "app.jobs/ByBase"


@pytest.mark.parametrize("handler", [ByBase, Outer.Inner])
def test_a_handler_is_found_by_its_name(handler: type[Handler[Any]]) -> None:
    assert find_handler(handler_name(handler)) is handler
    check_importable(handler)


@pytest.mark.parametrize("name", ["", "nowhere/Job", f"{__name__}/Nothing", f"{__name__}/Job", f"{__name__}/Outer.x.y"])
def test_what_is_no_handler_is_not_found(name: str) -> None:
    assert find_handler(name) is None


def test_looking_for_a_handler_imports_nothing() -> None:
    before = set(sys.modules)
    assert "this" not in before

    assert find_handler("this/Handler") is None

    assert set(sys.modules) == before


def test_a_handler_inside_a_function_is_not_importable() -> None:
    class Local(Handler[Job]):
        pass

    with pytest.raises(HandlerError, match="Local is defined inside a function"):
        check_importable(Local)


def test_a_handler_behind_another_of_its_name_is_not_importable() -> None:
    twin = type("ByBase", (Handler,), {"__module__": __name__})

    with pytest.raises(HandlerError, match="ByBase"):
        check_importable(twin)


def test_a_handler_of_the_started_script_is_not_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None, raising=False)
    monkeypatch.setattr(ByBase, "__module__", "__main__")

    with pytest.raises(HandlerError, match=r"ByBase is defined in the script .* move it"):
        check_importable(ByBase)


def test_a_handler_that_overrides_nothing_says_so() -> None:
    with pytest.raises(HandlerError, match=f"{__name__}/ByBase overrides neither"):
        ByBase().handle(Job(1))


def test_the_default_route_is_one_thread() -> None:
    assert ByBase.route(Job(1), Job(2)) == [Route(0, 0)] * 2


async def test_plain_and_async_methods_are_called_alike() -> None:
    async def later(number: int) -> int:
        return number

    assert await call(lambda number: number, 1) == await call(later, 1) == 1


async def test_the_code_of_a_handler_knows_that_it_is() -> None:
    async def later() -> bool:
        return handling.get()

    assert not handling.get()
    assert await call(handling.get)
    assert await call(later)
    assert not handling.get()


async def test_an_error_ends_the_knowledge_too() -> None:
    def fail() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await call(fail)

    assert not handling.get()


@pytest.mark.parametrize("errors", [(), (ValueError,), (ValueError, KeyError)])
def test_errors_are_exception_classes(errors: Any) -> None:
    check_failure_rules(type("Named", (Handler,), {"errors": errors}))


@pytest.mark.parametrize("errors", [None, ValueError, [ValueError], (ValueError("x"),), (int,), (BaseException,)])
def test_other_errors_are_refused(errors: Any) -> None:
    with pytest.raises(HandlerError, match=r"Named\.errors must be a tuple of exception classes"):
        check_failure_rules(type("Named", (Handler,), {"errors": errors}))


class Declares(Handler[int, str]):
    def perform(self, *requests: int) -> list[Any]:
        return [str(request) for request in requests]


class Inherits(Declares):
    pass


class Annotates(Handler[int]):
    async def handle(self, *requests: int) -> list[bytes]:
        return [b"" for _ in requests]


class TakesOne(Handler[int]):
    batch_size = 1

    def perform(self, request: int) -> tuple[int, ...]:
        return (request,)


class SaysNothing(Handler[int]):
    def perform(self, *requests: int) -> None: ...


class Unresolved(Handler[int]):
    def perform(self, *requests: int) -> Nowhere: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (Declares, str),
        (Inherits, str),
        (Annotates, bytes),
        (TakesOne, tuple[int, ...]),
        (SaysNothing, None),
        (Unresolved, None),
    ],
)
def test_the_type_of_results(handler: type[Handler[Any]], kind: Any) -> None:
    assert info_of(handler).result == kind
    assert info_of(handler).kind is int
