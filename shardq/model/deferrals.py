"""A message that waits for its time, and the id by which it is found again."""

from __future__ import annotations

from typing import NamedTuple

from shardq.errors import ConfigurationError, shown
from shardq.model.names import key_of, split_key

#: No number of an id has more hexadecimal digits.
_MOST_DIGITS = 16


class Deferred(NamedTuple):
    """A message that waits for its time."""

    id: str
    """No other message of its storage has it, before or after."""
    pipe: str
    """The tube it comes into."""
    due_us: int
    """When, Unix microseconds of the storage's clock."""
    message: bytes
    """As it is stored."""

    @property
    def handler(self) -> str:
        """`module/Handler`."""
        return split_key(key_of(self.pipe))[0]


def id_of(*numbers: int) -> str:
    """The id that says these numbers, by which a storage finds a message that waits: the due time is the first."""
    return "-".join(f"{number:x}" for number in numbers)


def numbers_in(text: str, count: int) -> tuple[int, ...]:
    """So many numbers that an id says. Raises `ConfigurationError` for what is no such id."""
    parts = text.split("-") if isinstance(text, str) else []
    if len(parts) != count or not all(map(_is_number, parts)):
        raise ConfigurationError(f"{shown(text)} is no id of a request that waits: `later list` shows the ids")
    return tuple(int(part, 16) for part in parts)


def due_in(text: str) -> int:
    """The due time that an id says, Unix microseconds. Raises `ConfigurationError` for what is no id."""
    return numbers_in(text, text.count("-") + 1)[0]


def _is_number(text: str) -> bool:
    return 0 < len(text) <= _MOST_DIGITS and set(text) <= set("0123456789abcdef")
