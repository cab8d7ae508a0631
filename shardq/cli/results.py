"""What `python -m shardq results` does."""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime
from typing import Any

from shardq.auditing import target_of
from shardq.cli.opened import changed, first, observed, run
from shardq.cli.render import age, as_json, columns, report
from shardq.cli.views import View
from shardq.encoding.replies import decode_reply
from shardq.errors import ConfigurationError
from shardq.model import KEPT_PIPE
from shardq.results.tickets import Found, KeptResults, kept_in

#: Most characters of a result in a line.
_LONGEST = 80


def results(options: argparse.Namespace) -> None:
    """Print the results that are kept for tickets, or drop some."""
    if options.drop:
        count = run(_dropped(options))
        report(options, f"{count:,} dropped", dropped=count)
        return
    view = View(options)
    shown, found = run(_found(options))
    values = [_as_values(its, view) for its in shown]
    if options.json:
        print(as_json(values))
        return
    now = time.time()
    rows = [
        (str(its.number), its.kept.handler, age(now - its.kept.ready_us / 1e6), _short(value))
        for its, value in zip(shown, values, strict=True)
    ]
    print(columns(("id", "handler", "ago", "result"), rows, found, "no results are kept"), end="")


async def _found(options: argparse.Namespace) -> tuple[list[Found], int]:
    """The first of them, and how many there are."""
    with observed(options.url) as observer:
        return await first(kept_in(observer), options.limit), await observer.length(KEPT_PIPE)


async def _dropped(options: argparse.Namespace) -> int:
    """Drop those of the ids. Raises `ConfigurationError` for one that is not there, and then drops none."""
    async with changed(options, "results drop", target_of(map(str, options.drop))) as (storage, deed):
        kept = KeptResults(storage)
        there = {found.number async for found in kept.each()}
        for wanted in options.drop:
            if wanted not in there:
                raise ConfigurationError(f"no result {wanted} is kept: `results` shows what there is")
        deed.count = await kept.drop(*options.drop)
        return deed.count


def _as_values(found: Found, view: View) -> dict[str, Any]:
    number, kept = found
    reply = decode_reply(kept.reply)
    ready = datetime.fromtimestamp(kept.ready_us / 1e6, UTC).isoformat(timespec="milliseconds")
    values = {"id": number, "handler": kept.handler, "ready": ready, "attempts": reply.attempts}
    if reply.failure:
        return values | {"error": reply.failure.message, "traceback": reply.failure.traceback}
    return values | {"result": view.only_result(bytes(reply.results), kept.handler)}


def _short(values: dict[str, Any]) -> str:
    text = f"failed: {values['error']}" if "error" in values else as_json(values["result"])
    line = text.partition("\n")[0]
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."
