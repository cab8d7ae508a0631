"""How far a batch has come, as its handler says."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

from shardq.errors import HandlerError, shown

#: Up to this number every whole one is kept as it is.
_MOST = 1 << 53
#: The frequent ones first.
_NUMBERS: tuple[type[Any], ...] = (int, float, Real)


class Progress(NamedTuple):
    """What a handler said of the batch in hand."""

    done: float
    total: float | None
    """None: it did not say."""
    note: str


@dataclass(frozen=True, slots=True)
class AtWork:
    """What a worker is at."""

    number: int
    """Of the worker, counted by its supervisor."""
    pid: int
    handler: str | None
    """`module/Handler` of the batch in hand. None: it has none in hand."""
    thread: str | None
    """Thread of that handler."""
    requests: int
    """Requests in the batch."""
    age_s: float
    """How long it has had them."""
    done: float | None
    """How far the batch has come, as its handler says. None: the handler said nothing of it."""
    total: float | None
    """None: the handler did not say how far it goes."""
    note: str


def cut_note(note: str, most_bytes: int) -> bytes:
    """As much of the note as there is room for, without a part of a character."""
    text = note[:most_bytes].encode("utf-8", "backslashreplace")
    if len(text) <= most_bytes:
        return text
    end = most_bytes
    while text[end] & 0xC0 == 0x80:
        end -= 1
    return text[:end]


def check_progress(done: object, total: object, note: object) -> None:
    """Raise `HandlerError` for what `Handler.progress` does not take."""
    if not (_is_number(done) and (total is None or _is_number(total)) and isinstance(note, str)):
        raise HandlerError(
            f"progress({shown(done)}, {shown(total)}, {shown(note)}) cannot be: give two numbers from 0 up, of which "
            f"the second may be None, and a text"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, _NUMBERS) and 0 <= value <= _MOST
