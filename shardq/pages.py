"""Listings that are read page by page, so that reading one does not keep others waiting."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from heapq import nsmallest
from typing import Any, TypeVar

_Item = TypeVar("_Item")

#: About how many items a page has where the caller does not say.
PAGE_ITEMS = 64


class Page(list[_Item]):
    """Some items of a listing, and where it goes on."""

    def __init__(self, items: Iterable[_Item] = (), after: Any = None) -> None:
        super().__init__(items)
        self.after = after
        """What the next page begins after, for the verb that made this one. None: there is no more."""


#: A verb that reads a page, given what the page before ended with.
Listing = Callable[[Any], Awaitable[Page[_Item]]]


async def all_pages(listing: Listing[_Item]) -> AsyncIterator[Page[_Item]]:
    """All pages."""
    after = None
    while True:
        page = await listing(after)
        yield page
        after = page.after
        if after is None:
            return


async def each(listing: Listing[_Item]) -> AsyncIterator[_Item]:
    """All items, read page by page."""
    async for page in all_pages(listing):
        for item in page:
            yield item


async def first(items: AsyncGenerator[_Item, None], limit: int | None) -> list[_Item]:
    """At most so many of what is read page by page; None: all. No page is read beyond them."""
    found = list[_Item]()
    async with aclosing(items):
        while limit is None or len(found) < limit:
            try:
                found.append(await anext(items))
            except StopAsyncIteration:
                break
    return found


def page_of(items: Iterable[_Item], after: Any, limit: int) -> Page[_Item]:
    """The least of the items that are greater than `after`, in their order."""
    least: list[Any] = nsmallest(max(1, limit) + 1, (item for item in items if after is None or item > after))
    return Page(least[:-1], least[-2]) if len(least) > max(1, limit) else Page(least)
