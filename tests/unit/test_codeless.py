"""Which request types have code of their own that runs when a request is decoded."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import pytest
from pydantic import BaseModel

from shardq.encoding.codec import MsgspecSerializer, lone_decoder
from shardq.encoding.codeless import is_codeless


class Place(NamedTuple):
    number: int
    name: str | None = None


class Order(msgspec.Struct):
    at: datetime
    places: list[Place]
    prices: dict[str, float] = {}
    before: Order | None = None


class Watchful(msgspec.Struct):
    number: int

    def __post_init__(self) -> None:
        raise ValueError("this is code")


class Filled(msgspec.Struct):
    number: int = msgspec.field(default_factory=lambda: 7)


@dataclass
class Plain:
    number: int


class Color(enum.Enum):
    RED = "red"

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return cls.RED


class Key(NamedTuple):
    number: int

    def __hash__(self) -> int:
        raise ValueError("this is code")


class Model(BaseModel):
    number: int


class Outer(NamedTuple):
    inner: tuple[int, list[Watchful]]


@pytest.mark.parametrize(
    "kind",
    [
        *(int, str, Place, Order, list[Place], tuple[Place, ...], dict[str, Order], set[int]),
        Annotated[int, msgspec.Meta(gt=0)],
    ],
)
def test_msgspec_alone_makes_what_has_no_code(kind: Any) -> None:
    assert is_codeless(kind)


@pytest.mark.parametrize(
    "kind",
    [
        *(Watchful, Filled, Plain, Color, Model, Outer, dict[Key, int], set[Key], list[Model], Place | Watchful),
        *(Any, Literal["a"]),
    ],
)
def test_what_may_have_code_is_not_without(kind: Any) -> None:
    assert not is_codeless(kind)


def test_another_serializer_may_run_any_code() -> None:
    class Own(MsgspecSerializer):
        pass

    assert lone_decoder(MsgspecSerializer(), Place)
    assert not lone_decoder(Own(), Place)
