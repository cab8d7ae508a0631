"""Figures as text, and as JSON for machines."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from textwrap import indent
from typing import Any

import msgspec

from shardq.cli.output import json_escaped
from shardq.errors import StorageDamaged
from shardq.text.printable import printable
from shardq.text.wording import counted, duration

_OTHER_THAN_ASCII = re.compile("[^ -~]")


def as_json(value: Any) -> str:
    """One line of JSON; bytes become base64, times ISO 8601. Characters that cannot be seen are escaped."""
    text = msgspec.json.encode(value).decode()
    return text if text.isprintable() else _OTHER_THAN_ASCII.sub(_escaped_unless_seen, text)


def report(options: argparse.Namespace, text: str, **values: Any) -> None:
    """Print what a command did: the text, or with `--json` the values."""
    print(as_json(values) if options.json else printable(text))


def tell_wrongs(found: Sequence[str], url: str, *, json: bool) -> None:
    """Print what is wrong with a storage, a line each. Raises `StorageDamaged` where something is."""
    print(as_json(found) if json else "\n".join(map(printable, found)) or "nothing is wrong")
    if found:
        raise StorageDamaged(f"{url}: {counted(len(found), 'thing')} wrong")


def columns(titles: Sequence[str], rows: Sequence[Sequence[str]], found: int = 0, none: str = "nothing") -> str:
    """A table of aligned columns; the text `none` if there are no rows. `found` is how many rows there are in all: if
    that is more, a last line says how many are not shown.
    """
    more = f"and {found - len(rows):,} more\n" if found > len(rows) else ""
    if not rows:
        return more or f"{printable(none)}\n"
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (titles, *rows)]
    return "".join(f"{line.rstrip()}\n" for line in lines) + more


def indented(text: str) -> str:
    """Foreign lines, of a traceback for instance, so that none of them looks like a line of the command."""
    return indent(printable(text, keep="\n\t"), "  ")


def went(evicted: int) -> str:
    """Says how many dead letters were removed to make room for later ones."""
    return f"{counted(evicted, 'letter')} made room for later ones and went for ever"


def size(nbytes: int) -> str:
    """`6.5 MiB`."""
    value = float(nbytes)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.1f} {unit}" if unit != "B" else f"{nbytes} B"
        value /= 1024
    return f"{value:.1f} GiB"


def age(seconds: float) -> str:
    """`3 ms`, `1.5 s`, `2:03`, or `1:02:03`; nothing for 0, and for what the clock of another host puts before that."""
    if seconds <= 0:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return duration(seconds)


def left(seconds: float | None) -> str:
    """What is left of a time: as `age`, or `1.5 s over`; nothing where it has no end."""
    if seconds is None:
        return ""
    return age(seconds) or "0 s" if seconds >= 0 else f"{age(-seconds)} over"


def until(due_us: int, now_us: int) -> str:
    """`in 2:03`, or `now`."""
    return f"in {age((due_us - now_us) / 1e6)}" if due_us > now_us else "now"


def moment(unix_us: int) -> str:
    """A time in UTC, as ISO 8601 with milliseconds."""
    return datetime.fromtimestamp(unix_us / 1e6, UTC).isoformat(timespec="milliseconds")


def _escaped_unless_seen(found: re.Match[str]) -> str:
    return found[0] if printable(found[0]) == found[0] else json_escaped(found[0])
