"""SHA-256 of all files below a folder, on all cores: `python examples/script.py FOLDER`.

A plain script with its handlers in it. The supervisor is unnamed, so they need no module of their own: the worker
processes import this file under another name, which is why the last lines stand behind `if __name__ == "__main__"`.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from pathlib import Path
from typing import NamedTuple

from shardq import Handler, Supervisor


class File(NamedTuple):
    path: str


class Sum(NamedTuple):
    path: str
    digest: str


class Checksum(Handler[File]):
    """Reads files. Which of them one worker reads after the other does not matter, so they go to many threads."""

    route_by = "path"
    threads = 64

    def perform(self, *files: File) -> None:
        self.emit_sync(Report, *(Sum(file.path, _digest(file.path)) for file in files))


class Report(Handler[Sum]):
    """Prints the results. All go to one thread, so lines never mix."""

    def perform(self, *sums: Sum) -> None:
        for path, digest in sums:
            print(f"{digest}  {path}")
        sys.stdout.flush()


def _digest(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def main(files: list[File]) -> None:
    async with Supervisor(Checksum, Report) as supervisor:
        await supervisor.queue.register(Checksum, *files)
        await supervisor.drain()


if __name__ == "__main__":
    asyncio.run(main([File(str(path)) for path in sorted(Path(sys.argv[1]).rglob("*")) if path.is_file()]))
