"""Values that MessagePack and msgspec do not know: what stands for each in a message, and how it is made of that again.

Pydantic models are encoded field by field with the fields' own values. So a model's rules for its JSON do not matter:
neither aliases nor serializers, nor which fields it leaves out.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Iterator
from functools import lru_cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeGuard

from shardq.errors import shown
from shardq.lazy import Lazy, is_loaded
from shardq.text.wording import with_article

if TYPE_CHECKING:
    import pydantic
    import pydantic_core
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo
else:
    pydantic, pydantic_core = Lazy("pydantic"), Lazy("pydantic_core")

#: An instance of a class derived from one of these can be made of a plain value.
PLAIN = (str, int, float, bytes)


def is_model(kind: Any) -> TypeGuard[type[BaseModel]]:
    """Whether it is the class of a pydantic model. pydantic is not imported for this."""
    return is_loaded("pydantic") and isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)


def is_root(model: type[BaseModel]) -> bool:
    """Whether the message of a model is that of its root."""
    return issubclass(model, pydantic.RootModel)


def is_json(field: FieldInfo) -> bool:
    """Whether a field of a model is made of a text of JSON."""
    marks = (field.annotation, *field.metadata)
    return any(mark is pydantic.Json or type(mark) is pydantic.Json for mark in marks)


def secrets() -> tuple[Any, ...]:
    """Pydantic's classes of secrets, none where it is not imported."""
    return (pydantic.SecretStr, pydantic.SecretBytes) if is_loaded("pydantic") else ()


def encode_foreign(value: Any) -> Any:
    """What stands for a value that msgspec does not know. Raises `TypeError` or `ValueError` for what would not come
    back: what can be read only once, and what has a part that is not stored.
    """
    if is_model(type(value)):
        return _fields(value)
    if isinstance(value, secrets()):
        return value.get_secret_value()
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, re.Pattern):
        if value.flags != re.compile(value.pattern).flags:
            raise ValueError("the flags of a pattern are not stored: write them into it, as in re.compile('(?i)a')")
        return value.pattern
    if isinstance(value, deque):
        if value.maxlen is not None:
            raise ValueError("the maxlen of a deque is not stored: use one without, or a list")
        return list(value)
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, Iterator):
        raise TypeError(f"{with_article(type(value).__qualname__)} can be read only once: use a list")
    return pydantic_core.to_jsonable_python(value)


def decode_foreign(kind: Any, value: Any) -> Any:
    """An instance of `kind`, of what `encode_foreign` made of one."""
    # Lax, because MessagePack has fewer types than Python: a UUID or an enum arrives as what it was encoded to.
    if is_model(kind):
        return kind.model_validate(value, strict=False, by_alias=False, by_name=True)
    if isinstance(kind, type) and issubclass(kind, PLAIN) and not hasattr(kind, "__get_pydantic_core_schema__"):
        if not isinstance(value, PLAIN):
            raise ValueError(f"{kind.__qualname__} cannot be made of {shown(value)}")
        make: Any = kind
        return make(value)
    return _adapter(kind).validate_python(value, strict=False, by_alias=False, by_name=True)


def is_known(kind: Any) -> bool:
    """Whether an instance of a class that msgspec does not know can be made again."""
    try:
        _adapter(kind)
    except Exception:  # what pydantic raises for a class it does not know, and what that raises itself
        return False
    return True


@lru_cache(maxsize=1024)
def _adapter(kind: Any) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(kind)


def _fields(model: BaseModel) -> Any:
    names, as_json = _shape(type(model))
    values = vars(model)
    try:
        fields = {name: values[name] for name in names}
    except KeyError as missing:  # `model_construct` makes such models
        raise ValueError(f"{type(model).__qualname__} has no value for its field {missing}") from None
    for name in as_json:
        fields[name] = _json(_for_json(fields[name])).decode()
    if isinstance(model, pydantic.RootModel):
        return fields["root"]
    return {**model.__pydantic_extra__, **fields} if model.__pydantic_extra__ else fields


def _for_json(value: Any) -> Any:
    """What stands for a value in a text of JSON: what a model says about its JSON does not matter there either, and
    sets and dicts are in one order.
    """
    if is_model(type(value)):
        return _for_json(_fields(value))
    if isinstance(value, secrets()):
        return value.get_secret_value()
    if isinstance(value, dict):
        items = [(key, _for_json(inner)) for key, inner in value.items()]
        return dict(items if isinstance(value, OrderedDict) else sorted(items, key=lambda item: _json(item[0])))
    if isinstance(value, set | frozenset):
        return sorted(map(_for_json, value), key=_json)
    return [_for_json(inner) for inner in value] if isinstance(value, list | tuple) else value


def _json(value: Any) -> bytes:
    text: bytes = pydantic_core.to_json(value)
    return text


@lru_cache(maxsize=1024)
def _shape(model: type[BaseModel]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The fields of a model, and those of them that are made of a text of JSON and of nothing else."""
    fields = model.model_fields
    as_json = [name for name, field in fields.items() if is_json(field)]
    return tuple(fields), tuple(as_json)
