"""Dead letters that are meant by a filter: their numbers, and the letters themselves so many at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing

from shardq.deadletters import Buried, Letters, Wanted
from shardq.model import dead_pipe

#: How many letters are acted upon at once.
AT_ONCE = 256

#: Numbers of letters by the names of their handlers, in their order.
Chosen = Mapping[str, Sequence[int]]


async def numbers_of(letters: Letters, wanted: str | None, match: Wanted) -> dict[str, list[int]]:
    """Numbers by handlers of one letter, of a handler's letters, or of all."""
    found: dict[str, list[int]] = {}
    if wanted and "#" in wanted:
        buried = await letters.get(wanted)
        return {buried.letter.handler: [buried.number]} if buried and match(buried) else {}
    async for buried in letters.each(wanted, match=match):
        found.setdefault(buried.grave.removesuffix(dead_pipe("")), []).append(buried.number)
    return found


async def pages(letters: Letters, chosen: Chosen) -> AsyncIterator[list[Buried]]:
    """These letters, as far as they are still there, so many at once. None that came later is among them."""
    for handler, numbers in chosen.items():
        wanted, page = set(numbers), list[Buried]()
        behind = f"{handler}#{numbers[0] - 1}" if numbers[0] else None
        async with aclosing(letters.each(handler, after=behind)) as there:
            async for buried in there:
                if buried.number in wanted:
                    page.append(buried)
                if len(page) == AT_ONCE:
                    yield page
                    page = []
                if buried.number >= numbers[-1]:
                    break
        if page:
            yield page


def count_of(chosen: Chosen) -> int:
    return sum(map(len, chosen.values()))
