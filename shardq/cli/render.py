"""Figures as text, and as JSON for machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


def as_json(value: Any) -> str:
    """One line of JSON; bytes become base64, times ISO 8601."""
    return msgspec.json.encode(value).decode()


def readable(message: bytes) -> Any:
    """What is in a message, without knowing its type."""
    try:
        return msgspec.msgpack.decode(message)
    except msgspec.DecodeError as error:
        return {"undecodable": message, "because": str(error)}


def columns(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of aligned columns, empty where there are no rows."""
    if not rows:
        return ""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (titles, *rows)]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def size(nbytes: int) -> str:
    """`6.5 MiB`."""
    value = float(nbytes)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.1f} {unit}" if unit != "B" else f"{nbytes} B"
        value /= 1024
    return f"{value:.1f} GiB"


def age(seconds: float) -> str:
    """`3 ms`, `1.5 s`, `2:03`, or `1:02:03`; nothing for 0."""
    if not seconds:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
