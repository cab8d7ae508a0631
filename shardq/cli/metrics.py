"""`shardq metrics`: what monitoring reads, printed once or kept in a file."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress

from shardq.cli.opened import run
from shardq.cli.output import CommandFailed
from shardq.metrics.exposition import exposed
from shardq.text.printable import printable


def metrics(options: argparse.Namespace) -> None:
    """Print the metrics of a storage, or write them into a file."""
    text = run(exposed(options.url))
    if options.output is None:
        print(text, end="")
        return
    where = printable(options.output)
    if _is_no_file(options.output):
        raise CommandFailed(f"{where} is not written: it is no file, and one would take its place")
    try:
        write_whole(options.output, text)
    except OSError as error:
        raise CommandFailed(f"{where} is not written: {error.strerror}; what it had before is there still") from error


def _is_no_file(path: str) -> bool:
    """Whether it is something else, as /dev/null or a pipe, that other programs have open."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def write_whole(path: str, text: str) -> None:
    """Write a file so that who reads it finds all of its former text or all of this. Raises `OSError`."""
    new = f"{path}.{os.urandom(4).hex()}.new"  # not in a name that a collector of `*.prom` would read
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(new, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(new)
        raise
