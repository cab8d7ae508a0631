"""What `shardq audit` does: shows what operators did to a storage."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from shardq.cli.opened import observed, run
from shardq.cli.output import say
from shardq.cli.render import age, as_json, columns, moment
from shardq.cli.screen import Screen
from shardq.model import Action
from shardq.protocols import Observer
from shardq.text.printable import printable

_TITLES = ("utc", "ago", "who", "by", "what", "count", "on", "why")
#: Seconds between two looks of `--follow`.
_EVERY_S = 1.0


def audit(options: argparse.Namespace) -> None:
    """Print the last actions, the latest first, or each as it comes."""
    if options.follow:
        with suppress(KeyboardInterrupt):
            run(_followed(options))
        return
    found = run(_found(options))
    if options.json:
        print(as_json(list(map(as_values, found))))
        return
    now = time.time()
    rows = [_row(action, age(now - action.at_us / 1e6)) for action in found]
    if rows or options.limit:
        print(columns(_TITLES, rows, len(rows), "nothing was done to it by a command or the page"), end="")


def as_values(action: Action) -> dict[str, Any]:
    """An action as JSON shows it."""
    values = asdict(action)
    return {"number": values.pop("number"), "at": moment(values.pop("at_us"))} | values


async def _found(options: argparse.Namespace) -> list[Action]:
    with observed(options.url) as observer:
        return await observer.actions(options.limit)


async def _followed(options: argparse.Namespace) -> None:
    """Print the last ones, the earliest first, and then each as it comes, until the reader closes the output."""
    screen = Screen()
    with observed(options.url) as observer:
        last = max((action.number for action in await observer.actions(1)), default=0)
        new = await observer.actions(options.limit)
        while _told(options, new) and await screen.wait(_EVERY_S):
            last = max([last, *(action.number for action in new)])
            new = await _behind(observer, last)


async def _behind(observer: Observer, last: int) -> list[Action]:
    return [action for action in await observer.actions() if action.number > last]


def _told(options: argparse.Namespace, new: Sequence[Action]) -> bool:
    """Whether its reader has not closed it."""
    return say("".join(f"{as_json(as_values(its)) if options.json else _line(its)}\n" for its in new[::-1]))


def _line(action: Action) -> str:
    return printable("  ".join(filter(None, _row(action, ""))))


def _row(action: Action, ago: str) -> tuple[str, ...]:
    at = moment(action.at_us).replace("T", " ").partition(".")[0]
    who = f"{action.user}@{action.host}, process {action.pid}"
    return at, ago, who, action.by, action.what, f"{action.count:,}", action.target, action.reason
