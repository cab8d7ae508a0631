"""Every kind of request comes back equal and of its own type, and what cannot is refused by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pydantic
import pytest

from shardq.encoding.codec import MsgspecSerializer, array_header
from shardq.errors import DecodeError, HandlerError, RequestError
from shardq.model import Batch


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Mode(StrEnum):
    FAST = "fast"


class Point(NamedTuple):
    x: int
    y: float = 0.5


@dataclass
class Address:
    street: str
    number: int | None = None


class Owner(msgspec.Struct):
    name: str
    address: Address | None = None


class Item(pydantic.BaseModel):
    name: str
    price: Decimal = Decimal("1.50")
    identity: UUID = UUID(int=1)


class Order(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True)

    number: int = pydantic.Field(alias="orderNumber")
    items: list[Item] = []
    placed: datetime = datetime(2024, 2, 29, 12, 30, tzinfo=UTC)
    colour: Colour = Colour.RED
    secret: pydantic.SecretStr = pydantic.SecretStr("hush")


class Visit(pydantic.BaseModel):
    page: pydantic.HttpUrl = pydantic.HttpUrl("https://example.org/a?b=c")
    hosts: list[IPv4Address] = [IPv4Address("127.0.0.1")]
    network: IPv4Network = IPv4Network("10.0.0.0/8")
    pattern: re.Pattern[str] = re.compile("a+")


class Everything(NamedTuple):
    text: str = "ünï \0 \U0001f600"
    number: int = -(2**63)
    large: int = 2**64 - 1
    real: float = 1e-300
    flag: bool = True
    nothing: None = None
    raw: bytes = b"\0\xff"
    colour: Colour = Colour.BLUE
    level: Level = Level.HIGH
    mode: Mode = Mode.FAST
    aware: datetime = datetime(2024, 2, 29, 23, 59, 59, 999_999, UTC)
    zoned: datetime = datetime(2024, 2, 29, 23, 59, 59, 1, timezone(timedelta(hours=5, minutes=30)))
    naive: datetime = datetime(1969, 12, 31, 1, 2, 3)
    day: date = date(1, 1, 1)
    clock: time = time(1, 2, 3, 4)
    span: timedelta = timedelta(days=-3, microseconds=7)
    identity: UUID = UUID(int=2**128 - 1)
    amount: Decimal = Decimal("0.10")
    choice: Literal["a", "b"] = "b"
    either: int | str = "x"
    perhaps: Point | None = None
    present: Point | None = Point(1)
    path: PurePosixPath = PurePosixPath("/a/b")


@dataclass
class Nested:
    point: Point
    points: list[Point]
    owner: Owner
    order: Order
    by_name: dict[str, Address]
    pair: tuple[int, Address]
    several: frozenset[int]
    maybe: Order | None = None
    rest: list[Any] = field(default_factory=list)


class Tree(msgspec.Struct):
    name: str
    children: list[Tree] = []


class Typed(TypedDict):
    a: int
    b: list[bytes]


class Tagged(msgspec.Struct, tag=True):
    a: int


class OtherTagged(msgspec.Struct, tag=True):
    a: int


class Positional(msgspec.Struct, array_like=True, frozen=True):
    a: int
    b: str = ""


@dataclass(frozen=True, slots=True)
class Slotted:
    a: int


@pydantic.dataclasses.dataclass
class Checked:
    a: int


ORDER = Order(orderNumber=7, items=[Item(name="x"), Item(name="y", price=Decimal("2"))])

REQUESTS = [
    (Point, Point(1, 2.5)),
    (Address, Address("x", 3)),
    (Owner, Owner("x", Address("y"))),
    (Item, Item(name="x")),
    (Order, ORDER),
    (Visit, Visit()),
    (Everything, Everything()),
    (
        Nested,
        Nested(
            Point(1),
            [Point(2), Point(3)],
            Owner("x"),
            ORDER,
            {"a": Address("b")},
            (1, Address("c", 4)),
            frozenset((1, 2)),
            ORDER,
            [1, "two", None],
        ),
    ),
    (Tree, Tree("a", [Tree("b"), Tree("c", [Tree("d")])])),
    (Typed, Typed(a=1, b=[b"x"])),
    (Tagged | OtherTagged, OtherTagged(1)),
    (Positional, Positional(1, "b")),
    (Slotted, Slotted(1)),
    (Checked, Checked(1)),
    (Annotated[int, msgspec.Meta(ge=0)], 7),
    (str, "text"),
    (dict[str, int], {"a": 1}),
]

serializer = MsgspecSerializer()


def round_trip(kind: Any, requests: Sequence[Any]) -> list[Any]:
    return serializer.decode(kind, Batch.of(serializer.encode(kind, requests)))


@pytest.mark.parametrize(("kind", "request_"), REQUESTS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_request_comes_back_equal(kind: Any, request_: Any) -> None:
    (back,) = round_trip(kind, [request_])

    assert back == request_
    assert type(back) is type(request_)


def test_each_field_comes_back_with_its_own_type() -> None:
    (back,) = round_trip(Everything, [Everything()])

    for sent, got in zip(Everything(), back, strict=True):
        assert type(got) is type(sent)
    assert back.naive.tzinfo is None


def test_an_aware_datetime_comes_back_as_the_same_instant_in_utc() -> None:
    (back,) = round_trip(Everything, [Everything()])

    assert back.zoned == Everything().zoned
    assert back.zoned.utcoffset() == timedelta(0)


def test_defaults_fill_what_an_older_message_lacks() -> None:
    message = msgspec.msgpack.encode({"name": "x"})

    assert serializer.decode(Owner, Batch.of([message])) == [Owner("x")]


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 65_535, 65_536])
def test_a_batch_of_any_length_is_decoded_as_a_whole(count: int) -> None:
    points = [Point(n) for n in range(count)]

    assert round_trip(Point, points) == points


@pytest.mark.parametrize(
    ("count", "header"), [(0, b"\x90"), (15, b"\x9f"), (16, b"\xdc\0\x10"), (1 << 16, b"\xdd\0\1\0\0")]
)
def test_array_headers_are_those_of_messagepack(count: int, header: bytes) -> None:
    assert array_header(count) == header


def test_equal_requests_give_equal_messages() -> None:
    first, second = serializer.encode(Order, [ORDER] * 2)

    assert first == second


def test_a_value_without_an_encoding_is_refused_with_its_position() -> None:
    with pytest.raises(RequestError, match=r"request 1, .*object.* cannot be encoded") as raised:
        serializer.encode(Address, [Address("x"), Address(object())])  # type: ignore[arg-type]

    assert "object" in str(raised.value)


@pytest.mark.parametrize("value", [2**64, float, {1: object()}, "\ud800"])
def test_values_that_messagepack_cannot_hold_are_refused(value: Any) -> None:
    with pytest.raises(RequestError, match="request 0"):
        serializer.encode(Address, [Address(value)])


@pytest.mark.parametrize("kind", [Point | Positional, Owner | Tree])
def test_a_type_that_could_never_be_decoded_is_refused_when_encoding(kind: Any) -> None:
    with pytest.raises(HandlerError, match="cannot be decoded"):
        serializer.encode(kind, [])


@pytest.mark.parametrize(
    ("sent", "kind"),
    [(Address("x"), Point), (Point(1), Address), (Address("x", 1), Owner), (Point(1), Item), (Item(name="x"), Order)],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_what_does_not_decode_as_the_type_says_so(sent: Any, kind: Any) -> None:
    (message,) = serializer.encode(type(sent), [sent])
    batch = Batch.of([message], 41)

    with pytest.raises(DecodeError, match=rf"41 to 41 .*{kind.__name__}"):
        serializer.decode(kind, batch)


@pytest.mark.parametrize("payload", [b"\xc1", b"\xd9\xff", b"\x01\x02"])
def test_bytes_that_are_no_message_say_so(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        serializer.decode(Point, Batch.of([payload]))


def test_a_path_of_this_system_comes_back() -> None:
    class Located(NamedTuple):
        path: Path

    assert round_trip(Located, [Located(Path("/tmp"))]) == [Located(Path("/tmp"))]
