"""Where fields stand in messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import pytest
from pydantic import BaseModel

from shardq.encoding.positions import placed
from shardq.errors import RequestError


class Size(NamedTuple):
    width: int
    height: int


class Spot(msgspec.Struct, array_like=True, tag="spot"):
    x: int
    size: Size


class Renamed(msgspec.Struct, rename={"spot": "s"}):
    spot: Spot | None = None


@dataclass
class Image:
    name: str
    size: Size
    thumbs: list[Size]
    by_name: dict[str, Size]
    pair: tuple[str, Size]


class Album(BaseModel):
    cover: Size | None = None
    anything: Any = None


@pytest.mark.parametrize(
    ("kind", "path", "place"),
    [
        (Size, "height", "1"),
        (Size, "1", "1"),
        (Spot, "x", "1"),  # its tag is in front
        (Spot, "size.width", "2.0"),
        (Renamed, "s.size.height", "s.2.1"),
        (Image, "name", "name"),
        (Image, "size.height", "size.1"),
        (Image, "thumbs.3.height", "thumbs.3.1"),
        (Image, "by_name.small.height", "by_name.small.1"),
        (Image, "pair.1.height", "pair.1.1"),
        (Album, "cover.height", "cover.1"),
        (Album, "anything.height", "anything.height"),
        (Image, "unknown.height", "unknown.height"),
        (int, "height", "height"),
        (Any, "height", "height"),
        (Size | Renamed, "s.x", "s.1"),
        (Size | Renamed, "width", "0"),
    ],
)
def test_names_become_positions(kind: Any, path: str, place: str) -> None:
    assert ".".join(placed(kind, path.split("."))) == place


@pytest.mark.parametrize(("kind", "path"), [(Size, "depth"), (Size, "2"), (Image, "size.depth"), (Spot, "0")])
def test_what_an_array_does_not_have_is_refused(kind: Any, path: str) -> None:
    with pytest.raises(RequestError, match=r"there is no field '\w+', only (x, size|width, height): set one of these"):
        placed(kind, path.split("."))
