"""`shardq why`: why the requests of a pipe do not run."""

from __future__ import annotations

import argparse

from shardq.cli.opened import observed, run
from shardq.cli.render import as_json
from shardq.reasons import Explained
from shardq.reasons import why as explain
from shardq.text.printable import printable
from shardq.text.wording import counted


def why(options: argparse.Namespace) -> None:
    """Print the reasons, the most important first, and those that cannot be seen."""
    found = run(_explained(options))
    facts = found.facts
    if options.json:
        values = {"pipe": facts.pipe, "queued": facts.queued, "reasons": found.reasons, "unknown": facts.unknown}
        print(as_json(values))
        return
    queued = counted(facts.queued, "request") if facts.queued else "no requests"
    print(printable(f"{facts.pipe}: {queued}"))
    for reason in found.reasons:
        print(printable(f"- {reason.text}"))
        if reason.advice:
            print(printable(f"  {reason.advice}"))
    if facts.unknown:
        print(f"This storage cannot see: {', '.join(facts.unknown)}.")


async def _explained(options: argparse.Namespace) -> Explained:
    with observed(options.url) as observer:
        return await explain(observer, options.pipe)
