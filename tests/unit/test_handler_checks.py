"""What cannot be served is said when it is first used, with the line to write instead."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, Self

import pytest

from shardq import Handler, Queue, Route
from shardq.drivers import RuntimeStorage
from shardq.errors import HandlerError
from shardq.handling.info import check_usable, info_of

if TYPE_CHECKING:
    from decimal import Decimal as OnlyWhileChecking


class Job(NamedTuple):
    number: int


class Works(Handler[Job]):
    def perform(self, *requests: Job) -> None:
        """No worker serves it here."""


def refused(handler: Any) -> str:
    """Why the handler cannot be used: said the same however often it is asked, and by `register` too."""
    with pytest.raises(HandlerError) as first:
        check_usable(handler)
    with pytest.raises(HandlerError) as again:
        Queue(RuntimeStorage()).register_sync(handler, Job(1), Job(2))
    assert str(again.value) == str(first.value)
    return str(first.value)


# Annotations that do not resolve


class OfChecked(Handler):  # type: ignore[type-arg]
    def perform(self, *requests: OnlyWhileChecking) -> None: ...


class OfTypo(Handler):  # type: ignore[type-arg]
    def handle(self, *requests: Jbo) -> None: ...  # type: ignore[name-defined]  # noqa: F821


class OfMissingAttribute(Handler):  # type: ignore[type-arg]
    def perform(self, *requests: pytest.Nothing) -> None: ...  # type: ignore[name-defined]


class OfBrokenText(Handler):  # type: ignore[type-arg]
    def perform(self, *requests: "list[Job") -> None: ...  # type: ignore  # noqa: F722


class OfDivision(Handler):  # type: ignore[type-arg]
    def perform(self, *requests: 1 / 0) -> None: ...  # type: ignore[valid-type]


class OfNoType(Handler):  # type: ignore[type-arg]
    def perform(self, *requests: 5) -> None: ...  # type: ignore[valid-type]


class OfUnhashable(Handler):  # type: ignore[type-arg]
    def perform(self, *requests: Annotated[int, []]) -> None: ...


class OfBase(Handler["Jbo"]):  # type: ignore[name-defined]
    def perform(self, *requests): ...  # type: ignore[no-untyped-def]


@pytest.mark.parametrize(
    ("handler", "where", "reason"),
    [
        (OfChecked, "perform()", "NameError: name 'OnlyWhileChecking' is not defined"),
        (OfTypo, "handle()", "NameError: name 'Jbo' is not defined"),
        (OfMissingAttribute, "perform()", "AttributeError: "),
        (OfBrokenText, "perform()", "SyntaxError: "),
        (OfDivision, "perform()", "ZeroDivisionError: "),
        (OfUnhashable, "perform()", "TypeError: unhashable type"),
        (OfBase, "the base Handler[...] of OfBase", "NameError: name 'Jbo' is not defined"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_annotation_that_does_not_resolve_is_named(handler: type[Handler[Any]], where: str, reason: str) -> None:
    said = refused(handler)

    assert f"{handler.__name__} is not known: annotate" in said
    assert f"that of {where} does not ({reason}" in said
    assert "outside of `if TYPE_CHECKING:`" in said


def test_an_annotation_that_is_no_type_is_refused() -> None:
    with pytest.raises(HandlerError, match="requests of type 5 cannot be decoded"):
        Queue(RuntimeStorage()).register_sync(OfNoType, Job(1))


class ReturnsUnknown(Handler):  # type: ignore[type-arg]
    def perform(self, *requests: Job) -> OnlyWhileChecking: ...  # type: ignore[empty-body]


class KnowsByBase(Handler[Job]):
    def perform(self, *requests: Jbo) -> None: ...  # type: ignore[name-defined]  # noqa: F821


class NamedByBase(Handler["Job"]):
    def perform(self, *requests): ...  # type: ignore[no-untyped-def]


@pytest.mark.parametrize("handler", [ReturnsUnknown, KnowsByBase, NamedByBase])
def test_annotations_that_do_not_matter_need_not_resolve(handler: type[Handler[Any]]) -> None:
    assert info_of(handler).kind is Job


# Methods that cannot be called as they will be


class NoStar(Handler[Job]):
    def perform(self, request: Job) -> None: ...


class NoStarInHandle(Handler[Job]):
    def handle(self, request: Job, more: int = 0) -> None: ...


class ListForStar(Handler[Any]):
    def perform(self, requests: list[Job]) -> None: ...


class SequenceForStar(Handler[Any]):
    def handle(self, requests: Sequence[Job]) -> None: ...


class NoSelf(Handler[Job]):
    def perform() -> None: ...  # type: ignore


class NeedsMore(Handler[Job]):
    def perform(self, *requests: Job, connection: Any) -> None: ...


class Yields(Handler[Job]):
    def perform(self, *requests: Job) -> Iterator[int]:
        yield 1


class YieldsLater(Handler[Job]):
    async def handle(self, *requests: Job) -> AsyncIterator[int]:
        yield 1


class NotCallable(Handler[Job]):
    perform = 5  # type: ignore[assignment]


class RoutesOne(Works):
    @classmethod
    def route(cls, request: Job) -> list[Route]:
        return [Route()]


class RoutesByInstance(Works):
    def route(self, *requests: Job) -> list[Route]:  # type: ignore[override]
        return [Route()] * len(requests)


class CreatesByInstance(Works):
    def create(self) -> Self:  # type: ignore[override]
        return self


class CreatesOf(Works):
    @classmethod
    def create(cls, connection: Any) -> Self:  # type: ignore[override]
        return cls()


class StartsWith(Works):
    def start(self, connection: Any) -> None: ...  # type: ignore[override]


class StopsYielding(Works):
    def stop(self) -> Iterator[None]:
        yield


class SizesLater(Works):
    async def batch_size(self) -> int:
        return 1


class SizesOf(Works):
    def batch_size(self, backlog: int) -> int:
        return backlog


@pytest.mark.parametrize(
    ("handler", "problem", "line"),
    [
        (NoStar, "perform() takes one request, but gets a batch", "def perform(self, *requests: Job) -> None:"),
        (NoStarInHandle, "handle() takes one request", "def handle(self, *requests: Job) -> None:"),
        (ListForStar, "perform() takes one request", "def perform(self, *requests: Job) -> None:"),
        (SequenceForStar, "handle() takes one request", "def handle(self, *requests: Job) -> None:"),
        (NoSelf, "perform() cannot be called with requests", "def perform(self, *requests: Job) -> None:"),
        (NeedsMore, "perform() cannot be called with requests alone", "def perform(self, *requests: Job) -> None:"),
        (Yields, "perform() has a `yield`", "def perform(self, *requests: Job) -> None:"),
        (YieldsLater, "handle() has a `yield`", "def handle(self, *requests: Job) -> None:"),
        (NotCallable, "perform() cannot be called, since it is 5", "def perform(self, *requests: Job) -> None:"),
        (RoutesOne, "route() takes one request", "@classmethod` and below it `def route(cls, *requests: Job)"),
        (RoutesByInstance, "route() is called on the class", "@classmethod` and below it `def route(cls, *requests"),
        (CreatesByInstance, "create() is called on the class", "@classmethod` and below it `def create(cls) -> Self:"),
        (CreatesOf, "create() needs arguments", "@classmethod` and below it `def create(cls) -> Self:"),
        (StartsWith, "start() needs arguments", "def start(self) -> None:"),
        (StopsYielding, "stop() has a `yield`", "def stop(self) -> None:"),
        (SizesLater, "batch_size() is `async def`", "def batch_size(self) -> int:"),
        (SizesOf, "batch_size() needs arguments", "def batch_size(self) -> int:"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_method_of_the_wrong_form_is_refused_with_the_right_one(
    handler: type[Handler[Any]], problem: str, line: str
) -> None:
    said = refused(handler)

    assert f"{handler.__name__}.{problem}" in said
    assert f"write `{line}" in said
    assert ("or `batch_size = 1`" in said) == (problem.endswith(("one request", "a batch")) and "route" not in problem)


class NeedsArguments(Works):
    def __init__(self, connection: Any) -> None: ...


class MadeFromOne(Works):
    def __new__(cls, connection: Any) -> Self:
        return super().__new__(cls)


class NeedsOne(type):
    def __call__(cls, connection: Any) -> Any:
        return super().__call__()


class MadeByItsClass(Works, metaclass=NeedsOne): ...


class Abstract(Works, ABC):
    @abstractmethod
    def connect(self) -> None: ...


class OutOfOrder:
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        raise KeyError("out of order")


class ReadsBadly(Works):
    batch_size = OutOfOrder()


class WorksBadly(Handler[Job]):
    perform = OutOfOrder()  # type: ignore[assignment]


class Lazy(Works):
    retry = OutOfOrder()  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (NeedsArguments, "NeedsArguments.__init__() needs arguments, but create() gives it none: write `@classmethod"),
        (MadeFromOne, "MadeFromOne.__init__() needs arguments, but create() gives it none: write `@classmethod"),
        (MadeByItsClass, "MadeByItsClass.__init__() needs arguments, but create() gives it none: write `@classmethod"),
        (Abstract, "Abstract is abstract: write its connect"),
        (ReadsBadly, "ReadsBadly cannot be looked at: KeyError: 'out of order'"),
        (WorksBadly, "WorksBadly cannot be looked at: KeyError: 'out of order'"),
        (Lazy, "Lazy cannot be looked at: KeyError: 'out of order'"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_class_that_cannot_be_made_or_looked_at_is_refused(handler: type[Handler[Any]], words: str) -> None:
    assert words in refused(handler)


class Dependent(NeedsArguments):
    @classmethod
    def create(cls) -> Self:
        return cls("connection")


class ByDefault(Works):
    def __init__(self, connection: Any = None, *more: Any, **options: Any) -> None: ...


@pytest.mark.parametrize("handler", [Dependent, ByDefault])
def test_arguments_that_are_given_or_have_defaults_are_right(handler: type[Handler[Any]]) -> None:
    check_usable(handler)


def one_by_one(function: Callable[..., None]) -> Callable[..., None]:
    @wraps(function)
    def each(self: Any, *requests: Any) -> None:
        for request in requests:
            function(self, request)

    return each


class Decorated(Handler[Job]):
    @one_by_one
    def perform(self, request: Job) -> None: ...


class FirstAndRest(Handler[Job]):
    def perform(self, first: Job, *rest: Job, verbose: bool = False) -> None: ...


class Static(Handler[Job]):
    @staticmethod
    def perform(*requests: Job) -> None: ...

    @staticmethod
    def route(*requests: Job) -> list[Route]:
        return [Route()] * len(requests)


class OneByNumber(NoStar):
    batch_size = 1


class OneByMethod(NoStar):
    def batch_size(self) -> int:
        return 1


class Overridden(NoStar):
    """What it does is `handle`; `perform` is its own affair."""

    def handle(self, *requests: Job) -> None: ...


@pytest.mark.parametrize("handler", [Decorated, FirstAndRest, Static, OneByNumber, OneByMethod, Overridden, Works])
def test_other_forms_that_can_be_called_are_right(handler: type[Handler[Any]]) -> None:
    check_usable(handler)


# Batch sizes


@pytest.mark.parametrize("size", [None, 1, 10, 10**6], ids=str)
def test_a_batch_size_may_be_an_attribute(size: int | None) -> None:
    handler = type("Sized", (Works,), {"batch_size": size})

    check_usable(handler)
    assert info_of(handler).batch_size(handler(), 128) == size or 128


@pytest.mark.parametrize("size", [0, -1, True, 2.0, "10", [10], 10**5000 * -1], ids=lambda size: type(size).__name__)
def test_an_attribute_that_is_no_size_is_refused(size: Any) -> None:
    assert "Sized.batch_size must be a number from 1 up" in refused(type("Sized", (Works,), {"batch_size": size}))


def test_one_request_at_a_time_is_not_enough_for_larger_batches() -> None:
    many = type("Many", (NoStar,), {"batch_size": 2})
    assert "takes one request" in refused(many)

    by_method = type("Many", (NoStar,), {"batch_size": lambda self: 2})
    check_usable(by_method)
    with pytest.raises(HandlerError, match=r"Many\.perform\(\) takes one request, but gets batches of up to 2"):
        info_of(by_method).batch_size(by_method(), 128)


def test_an_instance_may_say_its_batch_size() -> None:
    handler = Works()
    handler.batch_size = 7

    assert info_of(type(handler)).batch_size(handler, 128) == 7


class Counting(type(Handler)):  # type: ignore[misc]
    """Counts how often the signature of a method is read off a class."""

    looks: ClassVar[list[str]] = []

    def __getattribute__(cls, name: str) -> Any:
        if name == "start":
            Counting.looks.append(name)
        return super().__getattribute__(name)


def test_the_code_of_a_handler_is_looked_at_once() -> None:
    class Looked(Works, metaclass=Counting):
        def start(self) -> None: ...

    check_usable(Looked)
    seen = len(Counting.looks)
    for _ in range(3):
        check_usable(Looked)

    assert 0 < len(Counting.looks) == seen
