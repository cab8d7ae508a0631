"""Shows dead letters."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

from shardq.cli.dead.reading import letters_seen, listed, one
from shardq.cli.opened import run
from shardq.cli.render import age, as_json, columns, indented, moment, went
from shardq.cli.views import View
from shardq.deadletters import Buried
from shardq.model.trace import trace_id_of
from shardq.text.printable import printable

#: Most characters of an error in a line.
_LONGEST = 80


def list_(options: argparse.Namespace) -> None:
    """Print dead letters."""
    view = View(options)
    shown, more, evicted = run(listed(options))
    if options.json:
        print(as_json([as_values(buried, view) for buried in shown]))
        return
    none = f"no dead letters of {options.handler}" if options.handler else "no dead letters"
    now = time.time()
    rows = [
        (
            b.id,
            b.letter.reason,
            str(b.letter.attempts),
            age(now - b.letter.last_failed_us / 1e6),
            _short(b.letter.error),
        )
        for b in shown
    ]
    suffix = " that match" if options.match or options.after else ""
    print(columns(("id", "reason", "attempts", "ago", "error"), rows, len(rows) + more, none + suffix), end="")
    if more and shown:
        print(f"the next ones: --after {printable(shown[-1].id)}")
    if evicted:
        print(f"{went(evicted)} (of all handlers)")


def show(options: argparse.Namespace) -> None:
    """Print one dead letter as a whole."""
    view = View(options)
    values = as_values(run(_one(options)), view)
    if options.json:
        print(as_json(values))
        return
    print(as_text(values), end="")


def as_text(values: Mapping[str, Any]) -> str:
    """What `as_values` returned in lines of text."""
    text = ""
    for name, value in values.items():
        if name != "traceback" and value is not None:
            text += f"{name + ':':<14}{as_json(value) if name == 'request' else printable(str(value))}\n"
    return text + (f"\n{indented(values['traceback'])}" if values["traceback"] else "")


def as_values(buried: Buried, view: View) -> dict[str, Any]:
    """A letter as JSON shows it."""
    letter = buried.letter
    return {
        "id": buried.id,
        "request": view.request(letter.message, letter.handler, letter.secrets),
        "tube": letter.pipe,
        "sequence": letter.sequence,
        "trace_id": trace_id_of(letter.message),
        "reason": letter.reason,
        "error": letter.error,
        "signal": letter.signal,
        "attempts": letter.attempts,
        "first_failed": moment(letter.first_failed_us),
        "last_failed": moment(letter.last_failed_us),
        "traceback": letter.traceback,
    }


async def _one(options: argparse.Namespace) -> Buried:
    with letters_seen(options.url) as letters:
        return await one(letters, options.id)


def _short(text: str) -> str:
    line = text.partition("\n")[0]
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."
