"""Applications as a user writes them: a script in a folder, run to its end, whose handlers write to a file there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

from tests.support.programs import clean_environment
from tests.support.tasks import LIMIT_S

#: A handler that writes what `found()` returns, and an application that has it called once.
APPLICATION = """
import asyncio, json, os, sys
from pathlib import Path
from typing import NamedTuple
from shardq import Handler, Supervisor

class Word(NamedTuple):
    text: str

class Write(Handler[Word]):
    def perform(self, *words: Word) -> None:
        for word in words:
            with Path(word.text).open("a") as out:
                out.write(json.dumps(found()) + "\\n")

async def main(*targets, out="OUT", **options) -> None:
    async with Supervisor(*(targets or [Write]), workers=1, **options) as supervisor:
        await supervisor.queue.register(Write, Word(out))
        await supervisor.drain()
"""

GUARDED = """
if __name__ == "__main__":
    asyncio.run(main())
"""


class Ran(NamedTuple):
    status: int
    errors: str
    found: list[Any]
    """What handlers wrote, as JSON."""

    @property
    def well(self) -> list[Any]:
        assert not self.errors, self.errors
        assert self.status == 0
        return self.found


def written(path: Path, found: str, main: str = GUARDED, before: str = "") -> Path:
    """The application as a file: with other code before it, this for what is found, and this for its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    out = repr(str(path.parent / "out.txt"))
    text = "\n".join((dedent(before), APPLICATION.replace('"OUT"', out), dedent(found), dedent(main)))
    path.write_text(text, encoding="utf-8")
    return path


def ran(folder: Path, *words: object, options: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> Ran:
    """Python was run in this folder, with these options of its own and these words."""
    done = subprocess.run(
        (sys.executable, *options, *map(str, words)),
        cwd=folder,
        env=clean_environment() | dict(environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * LIMIT_S,
        check=False,
    )
    out = folder / "out.txt"
    lines = out.read_text().splitlines() if out.exists() else []
    return Ran(done.returncode, done.stderr, list(map(json.loads, lines)))
