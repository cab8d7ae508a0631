"""A page of a long list. A list that takes long is cut off, and says so."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Generic, NamedTuple, Protocol, TypeVar

from shardq.web.looking import Meter

#: Items on a page, and how many are read before others go on.
PAGE, _AT_ONCE = 50, 32
#: Seconds that a list may take; then it says how far it came.
BUDGET_S = 2.0


class _Named(Protocol):
    @property
    def id(self) -> str: ...


_Item = TypeVar("_Item", bound=_Named)


class Listed(NamedTuple, Generic[_Item]):
    """A page of a list."""

    items: Sequence[_Item]
    after: str | None
    """The item behind which the next page begins. None: there is no more."""
    in_time: bool
    """Whether as many items were looked at as the page takes."""


async def listed(
    items: AsyncGenerator[_Item, None], match: Callable[[_Item], bool], after: str | None
) -> Listed[_Item]:
    """The next items that fit, of those behind the one with the id `after`. Raises what reading them raises."""
    meter, found, last = Meter(), list[_Item](), after
    async with aclosing(items):
        while meter.spent_s < BUDGET_S:
            read = await meter(some(items))
            if not read:
                return Listed(found, None, True)
            for its in read:
                if match(its):
                    if len(found) == PAGE:
                        return Listed(found, last, True)
                    found.append(its)
                last = its.id
    return Listed(found, last, False)


async def some(items: AsyncGenerator[_Item, None]) -> list[_Item]:
    """The next few; none: there is no more."""
    found = list[_Item]()
    while len(found) < _AT_ONCE:
        its = await anext(items, None)
        if its is None:
            break
        found.append(its)
    return found
