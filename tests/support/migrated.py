"""Handlers of a program that came from `sharded-queue`: with the same names and requests as there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from pydantic import BaseModel

from shardq import Handler


class Point(NamedTuple):
    x: int
    y: int


class Picture(NamedTuple):
    name: str
    size: float
    at: Point = Point(0, 0)
    words: tuple[str, ...] = ()


@dataclass
class Area:
    left: int
    right: int
    name: str | None = None


class Letter(BaseModel):
    to: str
    lines: list[str] = []


class Resize(Handler[Picture]):
    priorities: ClassVar[list[int]] = [1, 0]
    handled: ClassVar[list[Picture]] = []

    def perform(self, *pictures: Picture) -> None:
        self.handled.extend(pictures)


class Crop(Handler[Area]):
    def perform(self, *areas: Area) -> None:
        pass


class Send(Handler[Letter]):
    def perform(self, *letters: Letter) -> None:
        pass
