"""A request that was edited as JSON, made a message again.

JSON has fewer types than messages. So what was not touched stays as it was, and what was touched becomes what stood
there before: bytes of base64, a time of ISO 8601. Without the type of the request, nothing else may come there.
"""

from __future__ import annotations

import base64
import json
from datetime import datetime
from itertools import zip_longest
from typing import Any, NamedTuple

import msgspec

from shardq.encoding.envelope import with_request
from shardq.encoding.generic import content_of, in_json
from shardq.encoding.positions import placed
from shardq.errors import RequestError, shown
from shardq.text.secret_names import MASK

#: How values of JSON are called.
_KINDS = {
    type(None): "null",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
    bytes: "bytes",
    datetime: "a time",
}
_MISSING = object()
_WITH_APP = "give --app MODULE, so that it is checked against the type of the request"


class Edit(NamedTuple):
    """What to make of a message."""

    shown: Any
    """The request as it was given to be edited, in JSON's types."""
    edited: Any
    free: bool
    """Whether the shape may change, because the type is known and checks it afterwards."""

    def applied(self, message: bytes) -> bytes:
        """The message of the edited request, with what stood in front. Raises `RequestError` for what cannot be."""
        try:
            request = msgspec.msgpack.encode(self._merged(content_of(message), self.shown, self.edited, ""))
        except (OverflowError, UnicodeError, RecursionError) as error:
            raise RequestError(f"what was edited cannot be stored: {error}; nothing is changed") from error
        return with_request(message, request)

    def _merged(self, raw: Any, was: Any, now: Any, where: str) -> Any:
        """What `now` means where `raw` stood, which was shown as `was`."""
        if _same(was, now):
            return raw
        if isinstance(raw, dict) and isinstance(now, dict) and isinstance(was, dict):
            return self._of_dict(raw, was, now, where)
        if isinstance(raw, list) and isinstance(now, list) and isinstance(was, list):
            return self._of_list(raw, was, now, where)
        if MASK in _leaves(now):
            raise RequestError(f"{where or 'the request'} has a secret that is hidden: edit it with --reveal")
        return _leaf(raw, now, where or "the request", free=self.free)

    def _of_dict(self, raw: dict[Any, Any], was: dict[str, Any], now: dict[str, Any], where: str) -> Any:
        keys = {str(key): key for key in raw}
        if in_json(raw).keys() != raw.keys():
            raise RequestError(f"{where or 'the request'} has keys that JSON does not have: it cannot be edited")
        if not self.free and keys.keys() != now.keys():
            names = ", ".join(map(shown, sorted(keys.keys() ^ now.keys())))
            raise RequestError(f"{where or 'the request'} has other fields than before, {names}: {_WITH_APP}")
        merged = {}
        for key, its in now.items():
            before = raw[keys[key]] if key in keys else _MISSING
            merged[keys.get(key, key)] = self._merged(before, was.get(key, _MISSING), its, _at(where, key))
        return merged

    def _of_list(self, raw: list[Any], was: list[Any], now: list[Any], where: str) -> Any:
        if not self.free and len(raw) != len(now):
            raise RequestError(f"{where or 'the request'} has {len(now)} members instead of {len(raw)}: {_WITH_APP}")
        return [
            self._merged(its, before, after, _at(where, number))
            for number, (its, before, after) in enumerate(zip_longest(raw, was, now, fillvalue=_MISSING))
            if after is not _MISSING
        ]


def with_field(value: Any, raw: Any, assignment: str, kind: Any = None) -> Any:
    """The JSON value with `field=value` done to it. Where `raw`, the decoded request, has text, the value is text as it
    stands; elsewhere it is JSON, and text where it is no JSON. `kind`: the type of the request, which knows the names
    of fields that have none in a message; None: it is not known. Raises `RequestError`.
    """
    path, mark, text = assignment.partition("=")
    if not mark or not path:
        raise RequestError(f"{shown(assignment)} sets nothing: write FIELD=VALUE, as user.id=5")
    steps = path.split(".") if kind is None else placed(kind, path.split("."))
    return _with(value, raw, steps, text, path, free=kind is not None)


def _with(value: Any, raw: Any, steps: list[str], text: str, path: str, *, free: bool) -> Any:
    if not steps:
        return text if isinstance(raw, str) else _json_or_text(text)
    step, further = steps[0], steps[1:]
    if isinstance(value, dict) and (step in value or (free and not further)):
        inner = next((its for key, its in raw.items() if str(key) == step), None) if isinstance(raw, dict) else None
        return value | {step: _with(value.get(step), inner, further, text, path, free=free)}
    if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        at = int(step)
        inner = raw[at] if isinstance(raw, list) else None
        return [*value[:at], _with(value[at], inner, further, text, path, free=free), *value[at + 1 :]]
    if isinstance(value, list) and not free:
        most = f"to {len(value) - 1}" if value else "on, but there is none"
        raise RequestError(
            f"{shown(step)} in {shown(path)} is no position: the message has a list there, without names; give "
            f"a position from 0 {most}, or --app MODULE, which knows the names"
        )
    raise RequestError(f"the request has no field {shown(path)}: `dead show` shows what it has")


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _leaf(raw: Any, now: Any, where: str, *, free: bool) -> Any:
    """What a new value in JSON means in the place of `raw`."""
    try:
        if isinstance(raw, bytes) and isinstance(now, str):
            return base64.b64decode(now, validate=True)
        if isinstance(raw, datetime) and isinstance(now, str):
            return _time(now)
        if isinstance(raw, float) and isinstance(now, int | float | str) and not isinstance(now, bool):
            return float(now)
    except ValueError as error:
        raise RequestError(f"{where} cannot become {shown(now)}: {error}") from error
    if free or raw is None or type(raw) is type(now):
        return now
    before, after = _KINDS.get(type(raw), "something else"), _KINDS.get(type(now), "something else")
    raise RequestError(f"{where} was {before} and cannot become {after}: {_WITH_APP}")


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.utcoffset() is None:
        raise ValueError("it has no time zone, as 2026-01-31T12:00:00Z has")
    return found


def _same(was: Any, now: Any) -> bool:
    """Whether both are written alike in JSON: 1 is neither true nor 1.0 there."""
    if type(was) is not type(now):
        return False
    if isinstance(now, dict):
        return was.keys() == now.keys() and all(_same(was[key], its) for key, its in now.items())
    if isinstance(now, list):
        return len(was) == len(now) and all(map(_same, was, now))
    return bool(was == now)


def _leaves(value: Any) -> list[Any]:
    """The texts in a value."""
    if isinstance(value, dict):
        return [leaf for its in value.values() for leaf in _leaves(its)]
    if isinstance(value, list):
        return [leaf for its in value for leaf in _leaves(its)]
    return [value] if isinstance(value, str) else []


def _at(where: str, step: str | int) -> str:
    return f"{where}.{step}" if where else str(step)
