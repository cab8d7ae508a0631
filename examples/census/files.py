"""Which files are counted: the standard library of the running interpreter."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from examples.census.handlers import CountRequest

_NOT_STANDARD = {"site-packages", "dist-packages"}


def standard_library() -> list[CountRequest]:
    """One request for each `.py` file, in the order of their paths."""
    root = Path(sysconfig.get_path("stdlib"))
    return [
        CountRequest(str(path), _top_level_package(path.relative_to(root)))
        for path in sorted(root.rglob("*.py"))
        if path.is_file() and _NOT_STANDARD.isdisjoint(path.relative_to(root).parts)
    ]


def spread(requests: list[CountRequest], limit: int | None) -> list[CountRequest]:
    """At most `limit` of the requests, taken from all over the list."""
    if limit is None or limit >= len(requests):
        return requests
    return [requests[position * len(requests) // limit] for position in range(limit)]


def read_once(requests: list[CountRequest]) -> None:
    """Bring the files into the system's cache, so that the first of the two ways does not pay for the disk."""
    for request in requests:
        Path(request.path).read_bytes()


def _top_level_package(relative: Path) -> str:
    return relative.with_suffix("").parts[0]
