"""Types whose values nothing but msgspec makes: none of their own code runs when a request is decoded.

Such code may do anything, as a validator that looks something up. So it has to be contained where it may run, which
takes 1 us for each batch: see `working.code`.
"""

from __future__ import annotations

from typing import Any

import msgspec.inspect as seen
from msgspec import NODEFAULT

#: Made by msgspec alone, with nothing in them.
_SINGLE = (
    *(seen.NoneType, seen.BoolType, seen.IntType, seen.FloatType, seen.StrType, seen.BytesType, seen.ByteArrayType),
    *(seen.DateTimeType, seen.DateType, seen.TimeType, seen.TimeDeltaType, seen.UUIDType, seen.DecimalType),
)
#: What a dict may have as a key, and a set as an item: they are hashed.
_HASHED = (seen.StrType, seen.IntType, seen.BytesType)

#: What makes a default value without any code of the type, or none at all.
_MADE = (NODEFAULT, list, dict, set, bytearray)


def is_codeless(request_type: Any) -> bool:
    """Whether no code of the type can run. False where that is not sure. Raises `TypeError` for a type that msgspec
    does not know.
    """
    return _is_codeless(seen.type_info(request_type), set())


def _is_codeless(node: Any, met: set[int]) -> bool:
    if id(node) in met or isinstance(node, _SINGLE):
        return True
    met.add(id(node))
    match node:
        case seen.ListType() | seen.VarTupleType():
            return _is_codeless(node.item_type, met)
        case seen.SetType() | seen.FrozenSetType():
            return isinstance(node.item_type, _HASHED)
        case seen.DictType():
            return isinstance(node.key_type, _HASHED) and _is_codeless(node.value_type, met)
        case seen.TupleType():
            return all(_is_codeless(item, met) for item in node.item_types)
        case seen.UnionType():
            return all(_is_codeless(one, met) for one in node.types)
        case seen.NamedTupleType():
            return all(_is_codeless(field.type, met) for field in node.fields)
        case seen.StructType():
            if hasattr(node.cls, "__post_init__") or any(field.default_factory not in _MADE for field in node.fields):
                return False
            return all(_is_codeless(field.type, met) for field in node.fields)
        case _:
            return False
