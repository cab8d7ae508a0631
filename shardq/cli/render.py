"""Figures as text, and as JSON for machines."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import msgspec

from shardq.supervisor.progress import duration


def as_json(value: Any) -> str:
    """One line of JSON; bytes become base64, times ISO 8601."""
    return msgspec.json.encode(value).decode()


def report(options: argparse.Namespace, text: str, **values: Any) -> None:
    """Print what a command did: the text, or for machines the values."""
    print(as_json(values) if options.json else text)


def readable(message: bytes) -> Any:
    """What is in a message, without knowing its type."""
    try:
        return msgspec.msgpack.decode(message)
    except msgspec.DecodeError as error:
        return {"undecodable": message, "because": str(error)}


def columns(titles: Sequence[str], rows: Sequence[Sequence[str]], found: int = 0, none: str = "nothing") -> str:
    """A table of aligned columns, or the text for none where there are no rows; of so many `found`, where not all are
    shown.
    """
    more = f"and {found - len(rows):,} more\n" if found > len(rows) else ""
    if not rows:
        return more or f"{none}\n"
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (titles, *rows)]
    return "".join(f"{line.rstrip()}\n" for line in lines) + more


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
    return duration(seconds)
