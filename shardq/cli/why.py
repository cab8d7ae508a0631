"""`shardq why`: why the requests of a pipe, a thread, a handler or a whole storage do not run."""

from __future__ import annotations

import argparse
from typing import Any

from shardq.cli.opened import observed, run
from shardq.cli.render import as_json
from shardq.errors import HandlerError, shown
from shardq.model import TubeView
from shardq.pages import all_pages
from shardq.protocols import Observer
from shardq.reasons import Explained
from shardq.reasons import why as explain
from shardq.sampling.tubes import lag_of, largest
from shardq.text.printable import printable
from shardq.text.wording import counted

#: A name with fewer stands for all pipes that begin with it.
_SLASHES_OF_PIPE = 3


def why(options: argparse.Namespace) -> None:
    """Print the reasons, the most important first, and those that cannot be seen."""
    name: str | None = options.name
    if name is None or name.count("/") < _SLASHES_OF_PIPE:
        _tell_all(options, name)
        return
    found = run(_explained(options.url, name))
    print(as_json(_values(found)) if options.json else _text(found))


def _tell_all(options: argparse.Namespace, name: str | None) -> None:
    """The same for each tube that has requests: of one thread or handler, or of all."""
    found, tubes = run(_all_explained(options.url, name, options.limit))
    if options.json:
        print(as_json([_values(its) for its in found]))
        return
    if tubes:
        print(*map(_text, found), sep="\n")
    else:
        of = f" of {printable(name)}" if name else ""
        print(f"no tubes with requests in them{of}: `shardq dead list` and `shardq later list` show what else there is")
    if len(found) < tubes:
        print(f"and {counted(tubes - len(found), 'tube')} more: `shardq tubes` lists them")


async def _explained(url: str, pipe: str) -> Explained:
    with observed(url) as observer:
        return await explain(observer, pipe)


async def _all_explained(url: str, name: str | None, limit: int) -> tuple[list[Explained], int]:
    """The tubes whose first request waits longest, and how many tubes there are."""
    if name is not None and "/" not in name:
        raise HandlerError(f"{shown(name)} is no handler: give MODULE/Handler, as `shardq tubes --by-handler` shows it")
    with observed(url) as observer:
        views, found = await _oldest(observer, "" if name is None else f"{name}/", limit)
        return [await explain(observer, view.pipe) for view in views], found


async def _oldest(observer: Observer, prefix: str, limit: int) -> tuple[list[TubeView], int]:
    """So many of the tubes whose names begin so, and how many there are."""
    oldest, found = list[TubeView](), 0
    async for page in all_pages(observer.tubes):
        views = [view for view in page if view.pipe.startswith(prefix)]
        oldest, found = largest(oldest, views, lag_of, limit), found + len(views)
    return oldest, found


def _values(found: Explained) -> dict[str, Any]:
    facts = found.facts
    return {"pipe": facts.pipe, "queued": facts.queued, "reasons": found.reasons, "unknown": facts.unknown}


def _text(found: Explained) -> str:
    facts = found.facts
    lines = [f"{facts.pipe}: {counted(facts.queued, 'request') if facts.queued else 'no requests'}"]
    for reason in found.reasons:
        lines.append(f"- {reason.text}")
        if reason.advice:
            lines.append(f"  {reason.advice}")
    if facts.unknown:
        lines.append(f"This storage cannot see: {', '.join(facts.unknown)}.")
    return "\n".join(map(printable, lines))
