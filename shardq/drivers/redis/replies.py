"""What errors of the server mean."""

from __future__ import annotations

import re

from shardq.errors import FencedError, ShardqError, StorageDamaged, StorageMoved, StorageRefused

#: The server cannot work now, and will be able to later.
_OUTAGES = frozenset(
    ("BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "READONLY", "TRYAGAIN", "UNKILLABLE")
)
_REFUSALS = frozenset(("NOAUTH", "NOPERM", "WRONGPASS"))
#: In an error of a script, servers before version 7 name that of its command further behind.
_INSIDE = re.compile(r"(?:^|: -)([A-Z]{3,})\b")


class Outage(Exception):
    """The server cannot be reached, or cannot work now."""


class NoMemory(Exception):
    """The server has no memory left for what was asked; nothing changed."""


def lacks_script(error: Exception) -> bool:
    return str(error).startswith("NOSCRIPT")


def meaning(error: Exception) -> Exception:
    """The error to raise for one of the server."""
    text = str(error)
    words = _INSIDE.findall(text)
    if "FENCED" in words:
        return FencedError(text.partition("FENCED ")[2])
    if "LEFT" in words:
        return StorageMoved(text.partition("LEFT ")[2])
    if "OOM" in words:
        return NoMemory(text)
    if not _OUTAGES.isdisjoint(words):
        return Outage(text)
    if not _REFUSALS.isdisjoint(words):
        return StorageRefused(f"the server refuses: {text}: check user, password and rights")
    return StorageDamaged(f"the server answered: {text}")


def is_answer(error: Exception) -> bool:
    """Whether it is to be raised, and not tried again."""
    return isinstance(error, ShardqError | NoMemory)
