"""Where commands read dead letters, and which of them are meant."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from shardq.cli.opened import observed, opened
from shardq.deadletters import Buried, DeadLetters, Letters
from shardq.errors import ConfigurationError, shown
from shardq.letters.chosen import Chosen, numbers_of
from shardq.letters.match import Match
from shardq.model import dead_pipe, key_of, split_key, takes_requests


@contextmanager
def letters_of(url: str) -> Iterator[DeadLetters]:
    """The dead letters of the storage."""
    with opened(url) as storage:
        yield DeadLetters(storage)


@contextmanager
def letters_seen(url: str) -> Iterator[Letters]:
    """The same, to be looked at."""
    with observed(url) as observer:
        yield Letters(observer)


class Listed(NamedTuple):
    """What a list shows."""

    letters: Sequence[Buried]
    more: int
    """How many come behind them."""
    evicted: int
    """How many older ones, of all handlers, were removed to make room for later ones."""


async def listed(options: argparse.Namespace) -> Listed:
    """The letters that a command lists."""
    match, handler = Match(*options.match), options.handler
    with observed(options.url) as observer:
        letters = Letters(observer)
        found = await letters.list(handler, after=options.after, limit=options.limit, match=match)
        backlog = await observer.backlog()
        if not options.match and not options.after:
            there = await observer.length(dead_pipe(handler)) if handler else backlog.dead
            return Listed(found, max(0, there - len(found)), backlog.evicted)
        more = 0
        if len(found) == options.limit:
            last = found[-1].id if found else options.after
            async for _ in letters.each(handler, after=last, match=match):
                more += 1
        return Listed(found, more, backlog.evicted)


def check_holds_requests(pipe: str) -> None:
    """Raise `ConfigurationError` for a pipe that has something else. Of that, no view of requests knows the secrets."""
    if pipe == dead_pipe(split_key(key_of(pipe))[0]):
        raise ConfigurationError(f"{pipe} holds dead letters: `dead list` shows them")
    if not takes_requests(pipe):
        raise ConfigurationError(f"{pipe} has results for callers, which are no requests: `results` shows those kept")


async def one(letters: Letters, wanted: str) -> Buried:
    """The letter of this id. Raises `ConfigurationError` where it is not there."""
    found = await letters.get(wanted)
    if found is None:
        raise _missing(wanted)
    return found


async def chosen(letters: DeadLetters, options: argparse.Namespace) -> Chosen:
    """What a command names: ids, handlers, a filter, or all. Raises `ConfigurationError` for what is not there."""
    if (options.all and options.ids) or not (options.all or options.ids or options.match):
        raise ConfigurationError("which dead letters? give their ids, a handler as MODULE/Handler, --match, or --all")
    match = Match(*options.match)
    numbers: dict[str, set[int]] = {}
    for wanted in options.ids or [None]:
        found = await numbers_of(letters, wanted, match)
        if wanted is not None and not found and not options.match:
            raise _missing(wanted)
        for handler, its in found.items():
            numbers.setdefault(handler, set()).update(its)
    return {handler: sorted(its) for handler, its in numbers.items()}


def _missing(wanted: str) -> ConfigurationError:
    return ConfigurationError(f"there is no dead letter {wanted or shown(wanted)}: `dead list` shows what there is")
