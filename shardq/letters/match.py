"""Filters for dead letters, as operators write them: `type=ValueError`, `error~timed out`, `older=1h`, `user.id=5`."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec

from shardq.deadletters import Buried, DeadLetter
from shardq.encoding.generic import content_of, in_json
from shardq.errors import ConfigurationError, shown
from shardq.letters.frames import kind_of, last_frame

_Test = Callable[[DeadLetter], bool]

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
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
    name, mark, wanted = _parts(text)
    if (name, mark) == ("type", "="):
        return partial(_is_of_type, wanted)
    if (name, mark) == ("error", "~"):
        return lambda letter: wanted.casefold() in letter.error.casefold()
    if (name, mark) == ("frame", "~"):
        return lambda letter: wanted in last_frame(letter.traceback)
    if name in ("older", "newer") and mark == "=":
        limit_us = now_us - _span_us(text, wanted)
        return lambda letter: (letter.last_failed_us <= limit_us) == (name == "older")
    steps = name.removeprefix(".").split(".")
    fits: Callable[[Any], bool] = partial(_is_shown_as, wanted) if mark == "=" else partial(_has_text, wanted)
    return lambda letter: any(map(fits, _fields(letter, steps)))


def _parts(text: str) -> tuple[str, str, str]:
    """Name, mark and value of a filter. Raises `ConfigurationError`."""
    found = re.fullmatch(r"([^=~]+)([=~])(.*)", text, re.DOTALL)
    if found is None or not found[1].strip("."):
        raise ConfigurationError(f"{shown(text)} is no filter: write {_FORMS}")
    return found[1], found[2], found[3]


def _span_us(text: str, span: str) -> int:
    if not _SPAN.fullmatch(span):
        raise ConfigurationError(f"{shown(text)} says no age: write it as older=90s, newer=5m, older=1h30m or older=2d")
    seconds = sum(float(part[:-1]) * _UNITS_S[part[-1]] for part in re.findall(r"[\d.]+[smhd]", span))
    return int(min(seconds, 1e10) * 1e6)


def _is_of_type(wanted: str, letter: DeadLetter) -> bool:
    kind = kind_of(letter) if letter.reason in ("raised", "undecodable") else ""
    return kind == wanted or kind.endswith(f".{wanted}")


def _fields(letter: DeadLetter, steps: Sequence[str]) -> Iterator[Any]:
    """What stands in this place of the request, where there is such a place."""
    try:
        value = content_of(letter.message)
    except Exception:  # the letter may be there because it does not decode
        return
    for step in steps:
        if isinstance(value, dict):
            inner = [its for key, its in value.items() if str(key) == step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            inner = [value[int(step)]]
        else:
            return
        if not inner:
            return
        value = inner[0]
    yield value


def _is_shown_as(wanted: str, value: Any) -> bool:
    as_shown = _shown(value)
    if as_shown == wanted:
        return True
    try:
        return not isinstance(as_shown, str) and bool(_same(json.loads(wanted), as_shown))
    except ValueError:
        return False


def _has_text(wanted: str, value: Any) -> bool:
    as_shown = _shown(value)
    text = as_shown if isinstance(as_shown, str) else json.dumps(as_shown, ensure_ascii=False)
    return wanted.casefold() in text.casefold()


def _shown(value: Any) -> Any:
    """The value as JSON has it."""
    return msgspec.to_builtins(in_json(value), str_keys=True)


def _same(one: Any, other: Any) -> bool:
    """Equal, and `true` is no 1."""
    return bool(json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)) or (
        one == other and not isinstance(one, bool) and not isinstance(other, bool)
    )
