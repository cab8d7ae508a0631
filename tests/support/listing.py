"""Listings of a store, whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from shardq.pages import Page

_Item = TypeVar("_Item")


def listed(read: Callable[[Any], Page[_Item]]) -> list[_Item]:
    """All items of a verb that reads a page."""
    items, after = list[_Item](), None
    while True:
        page = read(after)
        items += page
        after = page.after
        if after is None:
            return items
