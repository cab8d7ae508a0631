"""What is shown, without a word about how it looks."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from shardq.cli.dead.looking import as_text, as_values
from shardq.cli.opened import observed, observer_of
from shardq.cli.top.groups import Group, grouped
from shardq.cli.views import View
from shardq.deadletters import Letters
from shardq.model import Counts
from shardq.sampling import GONE, Sample, Sampler

#: Rates and percentiles are those of so many seconds.
_SPAN_S = 10.0
#: Most letters that are read.
_MOST_LETTERS = 1000


class Seen(NamedTuple):
    """What one look found."""

    sample: Sample
    groups: Sequence[Group]
    """Of dead letters; as they were last, where they were not asked for."""


class Source:
    """Looks at the storage that a command names. All of it is called from one event loop."""

    def __init__(self, options: argparse.Namespace, opened: Callable[..., Sampler] = Sampler) -> None:
        """Raises what an application raises that does not import."""
        self.url: str = options.url
        self.view = View(options)
        self._sampler = opened(options.url, span_s=_SPAN_S, opened=observer_of)
        self._groups: Sequence[Group] = ()
        self._grouped: tuple[int, ...] | None = None
        """Counts of the storage when its letters were read."""

    async def look(self, *, letters: bool) -> Seen:
        """`letters`: read the dead letters, too, where there are others than before."""
        sample = await self._sampler.look()
        if sample.overview is None:
            return Seen(sample, ())
        now = _letters_in(sample.overview.counts)
        if letters and now != self._grouped:
            with suppress(*GONE):  # the next look says so
                self._groups = await self._read()
                self._grouped = now
        return Seen(sample, self._groups)

    async def _read(self) -> Sequence[Group]:
        with observed(self.url) as observer:
            return grouped(await Letters(observer).list(limit=_MOST_LETTERS))

    async def letter(self, wanted: str) -> str:
        """A dead letter as a text."""
        with observed(self.url) as observer:
            found = await Letters(observer).get(wanted)
        return f"{wanted} is there no more\n" if found is None else as_text(as_values(found, self.view))

    def forget(self) -> None:
        """Read the dead letters again at the next look."""
        self._grouped = None

    async def close(self) -> None:
        self._sampler.close()


def _letters_in(counts: Counts) -> tuple[int, ...]:
    return counts.buried, counts.dead, counts.evicted
