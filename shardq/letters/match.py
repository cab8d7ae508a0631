"""Filters for dead letters, as operators write them: `type=ValueError`, `error~timed out`, `older=1h`, `user.id=5`."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from shardq.deadletters import Buried, DeadLetter
from shardq.letters.frames import kind_of, last_frame
from shardq.matching import Span, field_test, parts_of

_Test = Callable[[DeadLetter], bool]

_FORMS = "FIELD=VALUE, FIELD~TEXT, error~TEXT, type=EXCEPTION, frame~TEXT, older=1h or newer=1h"


class Match:
    """True for letters that all of some filters fit.

    `field=value`: a field of the request, as views show it; `user.id` is a field within a field, and `0` the first
    member of an array, which a NamedTuple is. `field~text`: the text is somewhere in it, in upper or lower case.
    `error~text`: in the error. `type=ValueError`: the class of the exception, with or without its module.
    `frame~jobs.py:12`: in the last line of the application in the traceback, as `jobs.py:12 in perform`. `older=1h` and
    `newer=1h30m`: the request failed for good so long ago or longer, or later than that, in s, m, h and d. For a field
    that has one of these names begin with a dot: `.type=a`.

    Raises `ConfigurationError` for a filter that cannot be read. Ages count from when this was made.
    """

    def __init__(self, *filters: str) -> None:
        now_us = time.time_ns() // 1000
        self._tests = [_test_of(each, now_us) for each in filters]

    def __call__(self, buried: Buried) -> bool:
        return all(test(buried.letter) for test in self._tests)


def _test_of(text: str, now_us: int) -> _Test:
    name, mark, wanted = parts_of(text, _FORMS)
    if (name, mark) == ("type", "="):
        return partial(_is_of_type, wanted)
    if (name, mark) == ("error", "~"):
        return lambda letter: wanted.casefold() in letter.error.casefold()
    if (name, mark) == ("frame", "~"):
        return lambda letter: wanted in last_frame(letter.traceback)
    if name in ("older", "newer") and mark == "=":
        limit_us = now_us - Span(text, "older=90s, newer=5m, older=1h30m or older=2d").us(wanted)
        return lambda letter: (letter.last_failed_us <= limit_us) == (name == "older")
    fits = field_test(name, mark, wanted)
    return lambda letter: fits(letter.message)


def _is_of_type(wanted: str, letter: DeadLetter) -> bool:
    kind = kind_of(letter) if letter.reason in ("raised", "undecodable") else ""
    return kind == wanted or kind.endswith(f".{wanted}")
