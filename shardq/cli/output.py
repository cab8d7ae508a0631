"""Where the commands' words go, whatever that is: a terminal of few characters, a full disk, nothing at all."""

from __future__ import annotations

import codecs
import os
import sys

from shardq.errors import ShardqError
from shardq.text.printable import printable

_ESCAPING = "shardq-escaping"


class OutputError(ShardqError):
    """What a command has to say cannot be written."""


def say(text: str) -> None:
    """Write to standard output; what its encoding does not have as an escape of JSON's. Where it is closed nobody wants
    to know. Raises `OutputError` where it does not take what is written.
    """
    out = sys.stdout
    if out is None:
        return
    try:
        out.write(text.encode(out.encoding, _ESCAPING).decode(out.encoding) if out.encoding else text)
        out.flush()
    except BrokenPipeError:
        _write_no_more()  # the reader, `head` for instance, has seen enough
    except OSError as error:
        _write_no_more()
        raise OutputError(f"standard output cannot be written: {error.strerror}; what was asked for is done") from error


def complain(text: str) -> None:
    """Write a line to standard error, where there is one."""
    if sys.stderr is not None:
        print(printable(text, keep="\n\t"), file=sys.stderr)


def json_escaped(text: str) -> str:
    """The characters as a string of JSON has them where it has them not as they are."""
    units = text.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place]:02x}{units[place + 1]:02x}" for place in range(0, len(units), 2))


def _escaping(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return json_escaped(error.object[error.start : error.end]), error.end


def _write_no_more() -> None:
    """What was not taken would be written once more when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


codecs.register_error(_ESCAPING, _escaping)
