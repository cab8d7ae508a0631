"""What arrives is equal to what was sent, or is refused when it is registered: never changed without a word."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntFlag
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import pydantic
import pytest
from pydantic import ConfigDict, Field

from shardq import Handler, Queue, Route
from shardq.drivers import RuntimeStorage
from shardq.encoding.codec import MsgspecSerializer
from shardq.errors import HandlerError, RequestError
from shardq.model import Batch
from shardq.settings import StorageSettings
from tests.unit.test_codec import round_trip

serializer = MsgspecSerializer()


class Colour(Enum):
    RED = "red"


class Rights(IntFlag):
    READ = 1
    WRITE = 2


class Marks(Flag):
    A = 1
    B = 2


class Twice(Enum):
    ONE = 1
    UNO = 1  # noqa: PIE796


# What a model says about its JSON does not matter


class ByAlias(pydantic.BaseModel):
    model_config = ConfigDict(serialize_by_alias=True)
    number: int | None = Field(default=None, alias="orderNumber")


class Generated(pydantic.BaseModel):
    model_config = ConfigDict(serialize_by_alias=True, alias_generator=str.upper, extra="forbid")
    number: int | None = None
    inner: ByAlias | None = None


class ByPath(pydantic.BaseModel):
    number: int = Field(validation_alias=pydantic.AliasPath("a", "b"), serialization_alias="c")


class Excluding(pydantic.BaseModel):
    number: int = Field(default=1, exclude=True)
    name: str = "x"


class Computing(pydantic.BaseModel):
    model_config = ConfigDict(extra="forbid")
    number: int

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return 2 * self.number


class FieldSerialized(pydantic.BaseModel):
    number: int
    day: datetime

    @pydantic.field_serializer("number", "day")
    def _write(self, value: Any) -> str:
        return f"<{value}>"


class ModelSerialized(pydantic.BaseModel):
    number: int

    @pydantic.model_serializer
    def _write(self) -> dict[str, Any]:
        return {"nothing": 0}


class Annotating(pydantic.BaseModel):
    number: Annotated[int, pydantic.PlainSerializer(lambda number: "secret")]


class Root(pydantic.RootModel[list[ModelSerialized]]):
    pass


class Json(pydantic.BaseModel):
    numbers: pydantic.Json[list[int]]
    anything: pydantic.Json  # type: ignore[type-arg]


class JsonOfModels(pydantic.BaseModel):
    model: pydantic.Json[ByAlias]
    serialized: pydantic.Json[list[ModelSerialized]]
    secret: pydantic.Json[dict[str, pydantic.SecretStr]]


class JsonRoot(pydantic.RootModel[pydantic.Json[list[int]]]):
    pass


class Open(pydantic.BaseModel):
    model_config = ConfigDict(extra="allow")
    number: int


class Binary(pydantic.BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", ser_json_timedelta="float", strict=True)
    raw: bytes
    span: timedelta
    pair: tuple[int, int]
    colour: Colour


T = TypeVar("T")


class Box(pydantic.BaseModel, Generic[T]):
    content: T


@dataclass
class Wrapped:
    model: Excluding
    models: list[ByAlias]
    root: Root


class Tuple(NamedTuple):
    model: Generated
    by_name: dict[str, FieldSerialized]


class Typed(TypedDict):
    model: ModelSerialized


class Queued(NamedTuple):
    models: deque[ByAlias]


FIELDS = FieldSerialized(number=1, day=datetime(2024, 5, 6))
MODELS = [
    ByAlias(orderNumber=7),
    Generated(NUMBER=7, INNER=ByAlias(orderNumber=8)),  # type: ignore[call-arg]
    ByPath.model_validate({"a": {"b": 3}}),
    Excluding(number=5),
    Computing(number=1),
    FIELDS,
    ModelSerialized(number=1),
    Annotating(number=1),
    Root([ModelSerialized(number=1)]),
    Json(numbers="[1, 2]", anything='{"a": [1]}'),  # type: ignore[arg-type]
    JsonOfModels(model='{"orderNumber": 7}', serialized='[{"number": 1}]', secret='{"a": "b"}'),  # type: ignore[arg-type]
    JsonRoot("[1, 2]"),  # type: ignore[arg-type]
    Open.model_validate({"number": 1, "other": [1, "x"]}),
    Binary(raw=b"\xff\xfe", span=timedelta(days=1.5), pair=(1, 2), colour=Colour.RED),
    Box[set[int]](content={1, 2}),
    Wrapped(Excluding(number=9), [ByAlias(orderNumber=1)], Root([ModelSerialized(number=2)])),
    Tuple(Generated(NUMBER=1), {"a": FIELDS}),  # type: ignore[call-arg]
    Queued(deque([ByAlias(orderNumber=1)])),
]


@pytest.mark.parametrize("request_", MODELS, ids=lambda request: type(request).__name__)
def test_what_a_model_says_about_its_json_does_not_bend_its_requests(request_: Any) -> None:
    assert round_trip(type(request_), [request_]) == [request_]


def test_a_model_inside_a_typed_dict_neither() -> None:
    assert round_trip(Typed, [{"model": ModelSerialized(number=3)}]) == [{"model": ModelSerialized(number=3)}]


# Values of the standard library that come back


class UserId(str):
    __slots__ = ()


class Metres(float):
    pass


class Digest(bytes):
    pass


class Holder(NamedTuple):
    user: UserId = UserId("u1")
    distance: Metres = Metres(1.5)
    digest: Digest = Digest(b"\xff")
    rights: Rights = Rights.READ | Rights.WRITE
    none: Rights = Rights(0)
    marks: Marks = Marks.A | Marks.B
    twice: Twice = Twice.UNO
    raw: bytearray = bytearray(b"\xff")
    small: Decimal = Decimal("-0")
    exponent: Decimal = Decimal("1E+5")
    pattern: re.Pattern[str] = re.compile("(?i)a")
    binary: re.Pattern[bytes] = re.compile(b"a\xff")
    rest: deque[bytes] = deque([b"\xff", b""])  # noqa: RUF012
    counted: Counter[str] = Counter("aab")  # noqa: RUF012
    ordered: OrderedDict[str, int] = OrderedDict(b=1, a=2)  # noqa: RUF012
    point: complex = 1 + 2j


def test_values_with_a_type_that_tells_come_back() -> None:
    [back] = round_trip(Holder, [Holder()])

    assert back == Holder()
    assert [type(value) for value in back] == [type(value) for value in Holder()]
    assert list(back.ordered) == ["b", "a"]


def test_not_a_number_comes_back_as_such() -> None:
    class Figures(pydantic.BaseModel):
        real: float
        exact: Decimal

    [back] = round_trip(Figures, [Figures(real=float("nan"), exact=Decimal("1"))])

    assert back.real != back.real


@pytest.mark.parametrize("fold", [0, 1])
def test_an_hour_that_comes_twice_is_the_one_that_was_sent(fold: int) -> None:
    class At(pydantic.BaseModel):
        time: datetime

    sent = datetime(2024, 10, 27, 2, 30, fold=fold, tzinfo=ZoneInfo("Europe/Berlin"))
    [back] = round_trip(At, [At(time=sent)])

    assert back.time.astimezone(UTC) == sent.astimezone(UTC)


def test_what_has_no_equality_of_its_own_is_compared_by_what_it_holds() -> None:
    @dataclass(eq=False)
    class Plain:
        number: Any

    [back] = round_trip(Plain, [Plain(1)])

    assert back.number == 1


class Marked(pydantic.BaseModel):
    numbers: list[Annotated[int, ["of any kind"]]]


def test_what_else_stands_in_an_annotation_does_not_matter() -> None:
    assert round_trip(Marked, [Marked(numbers=[1])]) == [Marked(numbers=[1])]


# Types that cannot be relied on


class OfIterable(NamedTuple):
    numbers: Iterable[int]


class OfIterator(msgspec.Struct):
    numbers: Iterator[int]


@dataclass
class OfGenerator:
    numbers: list[Generator[int, None, None]]


class ModelOfIterable(pydantic.BaseModel):
    numbers: Iterable[int]


class OfDefaults(NamedTuple):
    counts: defaultdict[str, int]


class Undecided(pydantic.BaseModel):
    amount: Decimal | str


class UndecidedTime(pydantic.BaseModel):
    when: list[date | datetime]


class UndecidedColour(pydantic.BaseModel):
    colour: Colour | str | None = None


class UndecidedList(pydantic.BaseModel):
    numbers: tuple[int, ...] | list[int]


class Incomplete(pydantic.BaseModel):
    inner: Nowhere  # type: ignore[name-defined]  # noqa: F821


class Unresolved(NamedTuple):
    inner: Nowhere  # type: ignore[name-defined]  # noqa: F821


class Opaque:
    pass


class OfOpaque(NamedTuple):
    inner: list[Opaque]


class OfSlice(NamedTuple):
    part: slice | None


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (OfOpaque, "OfOpaque.inner is Opaque, which no message can hold"),
        (OfSlice, "OfSlice.part is slice, which no message can hold"),
        (OfIterable, "OfIterable.numbers is Iterable, which can be read only once: use list"),
        (OfIterator, "OfIterator.numbers is Iterator, which can be read only once"),
        (OfGenerator, "OfGenerator.numbers is Generator, which can be read only once"),
        (ModelOfIterable, "ModelOfIterable.numbers is Iterable, which can be read only once"),
        (OfDefaults, "OfDefaults.counts is a defaultdict, whose default cannot be stored: use dict"),
        (Undecided, "Undecided.amount may be Decimal and str, which are stored as text alike"),
        (UndecidedTime, "UndecidedTime.when may be date and datetime, which are stored as text alike"),
        (UndecidedColour, "UndecidedColour.colour may be Colour and str, which are stored as text alike"),
        (UndecidedList, "UndecidedList.numbers may be tuple and list, which are stored as a list alike"),
        (Incomplete, "Incomplete is not complete"),
        (Unresolved, "name 'Nowhere' is not defined"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_type_that_cannot_come_back_is_refused_each_time(kind: Any, reason: str) -> None:
    for _ in range(2):
        with pytest.raises(HandlerError) as raised:
            serializer.encode(kind, [])
        assert reason in str(raised.value)


class TakesIterable(Handler[OfIterable]):
    def perform(self, *requests: OfIterable) -> None:
        """No worker serves them here."""


async def test_it_is_refused_before_anything_is_stored() -> None:
    queue = Queue(RuntimeStorage())

    with pytest.raises(HandlerError, match="read only once"):
        await queue.register(TakesIterable, OfIterable([1]))
    assert (await queue.storage.backlog()).accepted == 0


# Values that cannot be relied on


class Anything(NamedTuple):
    value: Any = None


class Some(NamedTuple):
    values: Sequence[int]


class Patterned(NamedTuple):
    pattern: re.Pattern[str]


class Numbers(NamedTuple):
    numbers: list[int]


class Bounded(NamedTuple):
    values: deque[int]


class Base(pydantic.BaseModel):
    number: int


class Derived(Base):
    more: int


class OfBase(pydantic.BaseModel):
    inner: Base


@dataclass
class Parent:
    number: int


@dataclass
class Child(Parent):
    more: int


class OfParent(NamedTuple):
    parent: Parent


class Private(pydantic.BaseModel):
    number: int
    _hidden: int = 0


class Shouting(pydantic.BaseModel):
    text: str

    @pydantic.field_validator("text")
    @classmethod
    def _louder(cls, text: str) -> str:
        return text + "!"


@dataclass
class Growing:
    number: int

    def __post_init__(self) -> None:
        self.number += 1


Loose = namedtuple("Loose", "value")


class Required(pydantic.BaseModel):
    number: int
    text: str


def private() -> Private:
    request = Private(number=1)
    request._hidden = 4
    return request


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (Patterned(re.compile("a", re.IGNORECASE)), "the flags of a pattern are not stored"),
        (Numbers(n for n in range(3)), "a generator can be read only once"),  # type: ignore[arg-type]
        (Numbers(map(int, "12")), "a map can be read only once"),  # type: ignore[arg-type]
        (Bounded(deque([1], maxlen=2)), "the maxlen of a deque is not stored"),
        (Anything((1, 2)), "value = (1, 2) would be [1, 2]"),
        (Anything({"a": {1}}), "value['a'] = {1} would be [1]"),
        (Anything(Decimal(1)), "value = Decimal('1') would be '1'"),
        (Anything(date(2024, 1, 1)), "would be '2024-01-01'"),
        (Anything(Parent(1)), "value = Parent(number=1) would be {'number': 1}"),
        (Loose((1,)), "value = (1,) would be [1]"),
        (Some((1, 2)), "values = (1, 2) would be [1, 2]"),
        (OfBase(inner=Derived(number=1, more=2)), "inner = Derived(number=1, more=2) would be Base(number=1)"),
        (OfParent(Child(1, 2)), "parent = Child(number=1, more=2) would be Parent(number=1)"),
        (Required.model_construct(number=1), "Required has no value for its field 'text'"),
        (private(), "_hidden = 4 would be 0"),
        (Shouting(text="a"), "text = 'a!' would be 'a!!'"),
        (Growing(1), "number = 2 would be 3"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_would_arrive_changed_is_refused(request_: Any, reason: str) -> None:
    with pytest.raises(RequestError) as raised:
        serializer.encode(type(request_), [request_])

    assert "request 0" in str(raised.value)
    assert reason in str(raised.value)


def test_a_key_that_a_typed_dict_does_not_know_is_refused() -> None:
    with pytest.raises(RequestError, match="would not arrive as it is"):
        serializer.encode(Typed, [{"model": ModelSerialized(number=1), "more": 1}])


def test_what_leaves_open_what_it_is_is_looked_at_each_time() -> None:
    time = datetime(2024, 1, 1, tzinfo=UTC)
    good: list[Any] = [Anything(value) for value in (1, "x", b"\xff", [1, {"a": None}], 1.5, time)]
    for _ in range(20):
        assert round_trip(Anything, good) == good

    with pytest.raises(RequestError, match="request 3"):
        serializer.encode(Anything, [*good[:3], Anything((1,)), *good])


# Wrong types, where that is asked for


class Greet(NamedTuple):
    user_id: int


class Greeter(Handler[Greet]):
    @classmethod
    def route(cls, *requests: Greet) -> list[Route]:
        return [Route(thread=len(str(request.user_id)) % 2) for request in requests]

    def perform(self, *requests: Greet) -> None:
        """No worker serves them here."""


class Ranged(NamedTuple):
    number: Annotated[int, msgspec.Meta(ge=1)]
    choice: Literal["a", "b"] = "a"


class Ranger(Handler[Ranged]):
    def perform(self, *requests: Ranged) -> None:
        """No worker serves them here."""


@pytest.fixture
def careful() -> Queue:
    return Queue(RuntimeStorage(StorageSettings(check=True)))


@pytest.mark.parametrize("wrong", ["x", True, None, 1.5, b"1"], ids=str)
async def test_a_wrong_type_inside_is_refused_where_the_setting_says_so(careful: Queue, wrong: Any) -> None:
    with pytest.raises(RequestError) as raised:
        await careful.register(Greeter, Greet(1), Greet(22), Greet(wrong), Greet(4))

    assert "request 2, Greet(user_id=" in str(raised.value)
    assert "would not arrive: Expected `int`" in str(raised.value)
    assert (await careful.storage.backlog()).accepted == 0


@pytest.mark.parametrize("request_", [Ranged(0), Ranged(1, "c")], ids=str)  # type: ignore[arg-type]
async def test_so_is_what_its_annotation_does_not_allow(careful: Queue, request_: Ranged) -> None:
    with pytest.raises(RequestError, match="would not arrive"):
        await careful.register(Ranger, request_)


async def test_the_check_can_be_switched_on_later_and_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue(RuntimeStorage())
    assert await queue.register(Greeter, Greet("x")) == 1  # type: ignore[arg-type]

    queue.storage.settings.check = True
    with pytest.raises(RequestError):
        await queue.register(Greeter, Greet("x"))  # type: ignore[arg-type]

    monkeypatch.setenv("QUEUE_STORAGE_CHECK", "1")
    with pytest.raises(RequestError):
        Queue(RuntimeStorage()).register_sync(Greeter, Greet("x"))  # type: ignore[arg-type]


async def test_what_is_right_passes_the_check(careful: Queue) -> None:
    assert await careful.register(Greeter, *map(Greet, range(100))) == 100
    assert await careful.register(Ranger, Ranged(1, "b")) == 1


def test_a_message_of_an_earlier_version_still_decodes() -> None:
    """Models went by their field names before as well."""
    message = msgspec.msgpack.encode({"number": 7})

    assert serializer.decode(ByAlias, Batch.of([message])) == [ByAlias(orderNumber=7)]


@dataclass
class Defaults:
    numbers: list[int] = field(default_factory=list)


def test_a_request_that_changes_after_it_was_registered_is_another() -> None:
    request = Defaults()
    first = serializer.encode(Defaults, [request])
    request.numbers.append(1)

    assert serializer.encode(Defaults, [request]) != first
