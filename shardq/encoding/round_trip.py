"""Whether requests come back from their messages as they were sent, found out by trying."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from shardq.encoding.foreign import is_model
from shardq.errors import DecodeError, RequestError, shown
from shardq.model import Batch
from shardq.protocols import Serializer
from shardq.text.portrait import portrait

#: Most characters of what an exception says.
_REASON_CHARACTERS = 500


def check_round_trip(
    serializer: Serializer, request_type: Any, requests: Sequence[Any], messages: Sequence[bytes]
) -> None:
    """Raise `RequestError` for the first of the requests that does not come back equal from its message."""
    try:
        back: Sequence[Any] = serializer.decode(request_type, Batch.of(messages))
        if list(requests) == back:
            return
    except Exception:
        back = ()  # each for itself, to find which it is
    for position, (request, message) in enumerate(zip(requests, messages, strict=True)):
        try:
            [got] = serializer.decode(request_type, Batch.of([message]))
        except DecodeError as error:
            reason = reason_of(error.__cause__ or error)
            raise RequestError(f"request {position}, {shown(request)}, would not arrive: {reason}") from error
        except Exception as error:
            raise RequestError(f"request {position}, {shown(request)}, would not arrive: {reason_of(error)}") from error
        if not same(request, got):
            where, sent, received = _difference(request, got)
            raise RequestError(
                f"request {position}, {shown(request)}, would not arrive as it is: {where}{shown(sent)} would be "
                f"{shown(received)}; annotate the type that is meant, or use a value that stays what it is"
            )


def reason_of(error: BaseException) -> str:
    """What an exception says, in a line, also where it cannot be printed."""
    words = " ".join(str(portrait(error)).split())
    return words if len(words) <= _REASON_CHARACTERS else f"{words[:_REASON_CHARACTERS]}..."


def same(sent: Any, got: Any) -> bool:
    """Whether what came back is what was sent: equal, and where equality says nothing about values, of equal parts."""
    try:
        if sent == got:
            return True
        if type(sent) is not type(got):
            return False
        if sent != sent and got != got:  # nan
            return True
    except Exception:
        return False
    if isinstance(sent, datetime):
        # In an hour that is repeated, no two of different zones are equal.
        return None not in (sent.utcoffset(), got.utcoffset()) and sent.astimezone(UTC) == got.astimezone(UTC)
    parts = _parts(sent), _parts(got)
    if parts[0] is None or parts[1] is None:
        return _by_identity(type(sent))
    return parts[0].keys() == parts[1].keys() and all(same(part, parts[1][name]) for name, part in parts[0].items())


def _difference(sent: Any, got: Any) -> tuple[str, Any, Any]:
    """Where the two differ, as deep inside as can be told, and what each has there."""
    where = ""
    while type(sent) is type(got):
        parts, others = _parts(sent), _parts(got)
        if parts is None or others is None or parts.keys() != others.keys():
            break
        name = next((name for name, part in parts.items() if not same(part, others[name])), None)
        if name is None:
            break
        where += f".{name}" if isinstance(name, str) and not isinstance(sent, dict) else f"[{shown(name)}]"
        sent, got = parts[name], others[name]
    return f"{where.removeprefix('.')} = " if where else "", sent, got


def _parts(value: Any) -> dict[Any, Any] | None:
    """What a value consists of, by name or place. None where that cannot be told."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    if isinstance(value, list | tuple):
        return dict(enumerate(value))
    if isinstance(value, dict):
        return value
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    if is_model(type(value)):
        fields_of = {name: vars(value)[name] for name in type(value).model_fields}
        return fields_of | (value.__pydantic_extra__ or {}) | (value.__pydantic_private__ or {})
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if attributes := getattr(type(value), "__attrs_attrs__", None):
        return {attribute.name: getattr(value, attribute.name) for attribute in attributes}
    return None


def _by_identity(kind: Any) -> bool:
    """Whether no two instances are equal, even where they hold the same."""
    return kind.__eq__ is object.__eq__
