"""One order for what has none: sets and dicts whose members the encoder cannot sort.

Sets of sets and of mixed types, and dicts with keys that are no text, stand in a message in the order of their members'
own encoding. So equal requests have equal messages, in every process, whatever order they were filled in.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec

from shardq.encoding.foreign import encode_foreign

#: Classes of values without members.
_LEAVES = frozenset((int, float, str, bytes, bool, type(None)))
#: Other classes that the encoder knows by itself.
_KNOWN = (
    *(int, float, str, bytearray, memoryview, date, time, timedelta, UUID, Decimal),
    *(Enum, msgspec.Raw, msgspec.msgpack.Ext),
)

Encode = Callable[[Any], bytes]


def steady(value: Any, encode: Encode) -> Any:
    """A value that is encoded as this one is, with its sets and dicts in one order. `encode` encodes a member."""
    if type(value) in _LEAVES:
        return value
    if isinstance(value, set | frozenset):
        return tuple(sorted((steady(member, encode) for member in value), key=encode))
    if isinstance(value, dict):
        return _steady_dict(value, encode)
    if isinstance(value, list | tuple):
        return tuple([steady(member, encode) for member in value])
    if isinstance(value, msgspec.Struct):
        return _steady_copy(value, value.__struct_fields__, msgspec.structs.force_setattr, encode)
    if is_dataclass(value):
        return _steady_copy(value, [field.name for field in fields(value)], object.__setattr__, encode)
    if attributes := getattr(type(value), "__attrs_attrs__", None):
        return _steady_copy(value, [attribute.name for attribute in attributes], object.__setattr__, encode)
    return value if isinstance(value, _KNOWN) else steady(encode_foreign(value), encode)


def _steady_dict(value: dict[Any, Any], encode: Encode) -> dict[Any, Any]:
    items = [(steady(key, encode), steady(inner, encode)) for key, inner in value.items()]
    if not isinstance(value, OrderedDict):
        items.sort(key=lambda item: encode(item[0]))
    result = dict(items)
    if len(result) != len(items):
        raise ValueError("two keys of a dict would be one in the message")
    return result


def _steady_copy(value: Any, names: Any, put: Callable[[Any, str, Any], None], encode: Encode) -> Any:
    changed = {}
    for name in names:
        # A field without a value is the encoder's affair.
        inner = getattr(value, name, None)
        if type(inner) not in _LEAVES and (other := steady(inner, encode)) is not inner:
            changed[name] = other
    if not changed:
        return value
    result = copy.copy(value)
    for name, other in changed.items():
        put(result, name, other)
    return result
