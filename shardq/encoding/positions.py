"""Where the fields of a request stand in its message.

A NamedTuple, and a `msgspec.Struct` with `array_like`, is an array there, in which a field has a position and no name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec.inspect as seen

from shardq.encoding.foreign import is_model
from shardq.errors import RequestError, shown


def placed(kind: Any, path: Sequence[str]) -> list[str]:
    """The steps to a field of a request of this type, with positions in the place of the names that its message does
    not have. What the type does not tell stays as it is. Raises `RequestError` for a name that an array does not have.
    """
    found, node = list[str](), _type_of(kind)
    for step in path:
        step, node = _below(node, step)
        found.append(step)
    return found


def _below(node: Any, step: str) -> tuple[str, Any]:
    """One step into a value of this type, and the type there. None: it is not known."""
    every = [its for its in getattr(node, "types", (node,)) if not isinstance(its, seen.NoneType)]
    for its in every:
        if found := _field(its, step) or _member(its, step):
            return found
    if every and all(map(_is_array, every)):
        names = ", ".join(name for its in every for name in _fields(its))
        raise RequestError(f"there is no field {shown(step)}, only {names}: set one of these")
    return step, None


def _field(node: Any, step: str) -> tuple[str, Any] | None:
    """The field of this name."""
    cls = getattr(node, "cls", None)
    if is_model(cls):
        return (step, _type_of(cls.model_fields[step].annotation)) if step in cls.model_fields else None
    return _fields(node).get(step)


def _member(node: Any, step: str) -> tuple[str, Any] | None:
    """What has no name, or is meant by its position."""
    if isinstance(node, seen.DictType):
        return step, node.value_type
    if not step.isdecimal():
        return None
    if _is_array(node):
        return next((its for its in _fields(node).values() if its[0] == step), None)
    if (item := getattr(node, "item_type", None)) is not None:
        return step, item
    return next(((step, its) for its in getattr(node, "item_types", ())[int(step) :]), None)


def _fields(node: Any) -> dict[str, tuple[str, Any]]:
    """By name, the step to the field in a message, and its type."""
    is_array, first = _is_array(node), int(getattr(node, "tag", None) is not None)
    return {
        field.name if is_array else field.encode_name: (str(at) if is_array else field.encode_name, field.type)
        for at, field in enumerate(getattr(node, "fields", ()), start=first)
    }


def _is_array(node: Any) -> bool:
    return isinstance(node, seen.NamedTupleType) or bool(getattr(node, "array_like", False))


def _type_of(kind: Any) -> Any:
    """What msgspec says of a type. None: it does not know it."""
    try:
        return seen.type_info(kind)
    except (TypeError, NameError):
        return None
