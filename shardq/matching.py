"""What filters have in common that operators write: `FIELD=VALUE`, `FIELD~TEXT`, and spans of time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec

from shardq.encoding.generic import content_of, in_json
from shardq.errors import ConfigurationError, shown

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")


class Span(NamedTuple):
    """Reads spans of time: `1h30m`."""

    text: str
    """The filter that has it."""
    examples: str

    def us(self, span: str) -> int:
        """In microseconds. Raises `ConfigurationError`."""
        if not _SPAN.fullmatch(span):
            raise ConfigurationError(f"{shown(self.text)} says no age: write it as {self.examples}")
        seconds = sum(float(part[:-1]) * _UNITS_S[part[-1]] for part in re.findall(r"[\d.]+[smhd]", span))
        return int(min(seconds, 1e10) * 1e6)


def parts_of(text: str, forms: str) -> tuple[str, str, str]:
    """Name, mark and value of a filter. Raises `ConfigurationError`, which says in which `forms` filters come."""
    found = re.fullmatch(r"([^=~]+)([=~])(.*)", text, re.DOTALL)
    if found is None or not found[1].strip("."):
        raise ConfigurationError(f"{shown(text)} is no filter: write {forms}")
    return found[1], found[2], found[3]


def field_test(name: str, mark: str, wanted: str) -> Callable[[bytes], bool]:
    """Says of a message whether this field of its request has the value (mark `=`), or has the text in it (`~`)."""
    steps = name.removeprefix(".").split(".")
    fits: Callable[[Any], bool] = partial(_is_shown_as, wanted) if mark == "=" else partial(_has_text, wanted)
    return lambda message: any(map(fits, _fields(message, steps)))


def _fields(message: bytes, steps: Sequence[str]) -> Iterator[Any]:
    """What stands in this place of the request, where there is such a place."""
    try:
        value = content_of(message)
    except Exception:  # it need not decode
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
