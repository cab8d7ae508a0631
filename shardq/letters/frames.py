"""Where a request failed, read off its traceback."""

from __future__ import annotations

import re

from shardq.deadletters import DeadLetter

_FRAME = re.compile(r'^\s*File "(?P<file>[^"\n]+)", line (?P<line>\d+)(?:, in (?P<function>[^\n]+))?', re.MULTILINE)
#: What is no code of an application.
_FOREIGN = re.compile(
    r"/site-packages/|/dist-packages/|/lib/python\d|^<|/shardq/(?:working|handling|encoding|functions)/"
)
_KIND = re.compile(r"[^\W\d][\w.]*")


def last_frame(traceback: str) -> str:
    """`file.py:12 in perform`: the last line of the application in a traceback, or else the last line. Empty: it has
    none.
    """
    frames = list(_FRAME.finditer(traceback))
    own = [frame for frame in frames if not _FOREIGN.search(frame["file"])]
    if not frames:
        return ""
    last = (own or frames)[-1]
    where = f"{last['file'].rpartition('/')[2]}:{last['line']}"
    return f"{where} in {last['function']}" if last["function"] else where


def kind_of(letter: DeadLetter) -> str:
    """The class of the exception where there was one; else what is said of it, in a line."""
    found = _KIND.match(letter.error) if letter.reason in ("raised", "undecodable") else None
    return found[0] if found else letter.error.partition("\n")[0]
