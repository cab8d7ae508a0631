"""Dead letters by what they have in common: their handler, their error, and where it was raised."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shardq.deadletters import Buried

#: The file, the line and the function of a frame, as Python prints them.
_FRAME = re.compile(r'^\s*File "(?P<file>[^"\n]*)", line (?P<line>\d+), in (?P<function>.*)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Group:
    """Dead letters that are alike."""

    handler: str
    reason: str
    kind: str
    """Class of the exception, or how the worker died."""
    where: str
    """File, line and function of the last frame. Empty: there is no traceback."""
    ids: tuple[str, ...]
    """Of its letters, the oldest first."""
    last_failed_us: int

    @property
    def key(self) -> str:
        """By which it is found again."""
        return "\n".join((self.handler, self.reason, self.kind, self.where))


def grouped(letters: Iterable[Buried]) -> Sequence[Group]:
    """The groups of these letters."""
    found = dict[tuple[str, str, str, str], list[Buried]]()
    for buried in letters:
        letter = buried.letter
        kind = letter.error.partition("\n")[0]
        kind = kind.partition(":")[0] if letter.reason in ("raised", "undecodable") else kind
        found.setdefault((letter.handler, letter.reason, kind, _where(letter.traceback)), []).append(buried)
    return [
        Group(*key, tuple(its.id for its in alike), max(its.letter.last_failed_us for its in alike))
        for key, alike in found.items()
    ]


def _where(traceback: str) -> str:
    frames = list(_FRAME.finditer(traceback))
    if not frames:
        return ""
    last = frames[-1]
    return f"{last['file'].rpartition('/')[2]}:{last['line']} {last['function']}"
