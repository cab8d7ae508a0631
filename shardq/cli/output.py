"""Writes what commands say to any output: a terminal with few characters, a full disk, a closed stream."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import BytesIO, TextIOWrapper
from typing import TextIO

from shardq.errors import ShardqError
from shardq.text.printable import printable

_ESCAPING = "shardq-escaping"


class OutputError(ShardqError):
    """The output of a command cannot be written."""


class CommandFailed(ShardqError):
    """A command did its work, and what came of it is a failure."""


class Interrupted(ShardqError):
    """Ctrl-C ended a command that had done a part of its work."""


def say(text: str) -> bool:
    """Write to standard output. No character reaches it that a terminal would act upon, wherever it came from: escapes
    stand in their place. A character that its encoding lacks is written as JSON's escape. If standard output is closed,
    the text is dropped. False: the reader is gone. Raises `OutputError` if the write fails.
    """
    return paint(printable(text, keep="\n\t"))


def paint(text: str) -> bool:
    """The same for a text that has codes for a terminal in it, and nothing else that acts upon one."""
    out = sys.stdout
    if out is None:
        return False
    try:
        out.write(text.encode(out.encoding, _ESCAPING).decode(out.encoding) if out.encoding else text)
        out.flush()
        return True
    except BrokenPipeError:
        _write_no_more(out)  # the reader, `head` for instance, has seen enough
        return False
    except OSError as error:
        _write_no_more(out)
        raise OutputError(f"standard output cannot be written: {error.strerror}; what was asked for is done") from error


def complain(text: str) -> None:
    """Write a line to standard error, unless that is closed or cannot be written. Further lines are indented, so that
    no text with a line break in it looks like a line of the command.
    """
    if sys.stderr is None:
        return
    try:
        print(printable(text, keep="\n\t").replace("\n", "\n  "), file=sys.stderr, flush=True)
    except OSError:  # its disk may be full, and the command does its work
        _write_no_more(sys.stderr)


class _Printed(BytesIO):
    """Stands below standard output. Code of an application may wrap it anew, or have programs write to its file."""

    def fileno(self) -> int:
        return sys.__stderr__.fileno() if sys.__stderr__ else super().fileno()

    def close(self) -> None:
        """What was printed is still to be read."""


@contextmanager
def printed_apart(tell: Callable[[str], object] = complain) -> Iterator[None]:
    """Each line that an application prints meanwhile is told afterwards, indented. On standard error, where nothing is
    given: standard output has only what the command says.
    """
    printed = _Printed()
    try:
        with redirect_stdout(TextIOWrapper(printed, "utf-8", "backslashreplace", write_through=True)):
            yield
    finally:
        for line in printed.getvalue().decode(errors="backslashreplace").splitlines():
            tell("  " + printable(line, keep="\t"))


def json_escaped(text: str) -> str:
    """The characters as escapes of a JSON string."""
    units = text.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place]:02x}{units[place + 1]:02x}" for place in range(0, len(units), 2))


def _escaping(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return json_escaped(error.object[error.start : error.end]), error.end


def _write_no_more(stream: TextIO) -> None:
    """Lead it to /dev/null. Otherwise the interpreter would try to write the rest once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


codecs.register_error(_ESCAPING, _escaping)
