"""The table of the census: counts by top-level package, as JSON and as text."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from examples.census.measure import NOTHING, Counts, add

#: Counts by top-level package.
Table = dict[str, Counts]

_NAME_WIDTH = 24
_NUMBER_WIDTH = 11


def fold(table: Table, package: str, counts: Counts) -> None:
    """Add the counts of one file to its package."""
    table[package] = add(table.get(package, NOTHING), counts)


def total(table: Mapping[str, Counts]) -> Counts:
    return Counts(*map(sum, zip(*table.values(), strict=True)))


def as_json(table: Mapping[str, Counts]) -> str:
    """Equal tables give equal text, in whatever order they were folded."""
    packages = {package: table[package]._asdict() for package in sorted(table)}
    text = msgspec.json.encode({"packages": packages, "total": total(table)._asdict()})
    return msgspec.json.format(text, indent=1).decode() + "\n"


def from_json(text: str) -> Table:
    return {package: Counts(**counts) for package, counts in msgspec.json.decode(text)["packages"].items()}


def as_text(table: Mapping[str, Counts], top: int | None = None) -> str:
    """The packages with the most lines first, the sum last; with `top`, only so many packages."""
    ranked = sorted(table, key=lambda package: (-table[package].lines, package))
    rows = [_row(package, table[package]) for package in ranked[:top]]
    if len(rows) < len(ranked):
        rows.append(f"… and {len(ranked) - len(rows)} more")
    heading = f"{'package':<{_NAME_WIDTH}}" + "".join(f"{field:>{_NUMBER_WIDTH}}" for field in Counts._fields)
    return "\n".join([heading, *rows, _row("total", total(table))]) + "\n"


def differences(ours: Mapping[str, Counts], theirs: Mapping[str, Counts]) -> list[str]:
    """One line for each package in which two tables differ."""
    return [
        f"{package}: {ours.get(package)} is not {theirs.get(package)}"
        for package in sorted(ours.keys() | theirs.keys())
        if ours.get(package) != theirs.get(package)
    ]


def _row(name: str, counts: Counts) -> str:
    return f"{name:<{_NAME_WIDTH}}" + "".join(f"{number:>{_NUMBER_WIDTH},}" for number in counts)
