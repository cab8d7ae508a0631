"""Where the secrets of requests are, told by their type, and requests without them.

Messages carry requests in clear, since handlers need them. What operators are shown of a message has a mask in the
place of each secret: in fields with a usual name of secrets, in fields that the handler names
(`Handler.secret_fields`), and in those of pydantic's secret types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import is_dataclass
from itertools import islice
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, get_type_hints, is_typeddict

import msgspec
import msgspec.inspect as seen

from shardq.encoding.foreign import is_json, is_model, is_root, secrets
from shardq.text.secret_names import MASK, is_secret, plain_name

if TYPE_CHECKING:
    from pydantic import BaseModel

#: One step into a message: a key, a place in an array, or None for all there are.
Step = str | int | None
Path = tuple[Step, ...]

#: How deep types are looked into, and how many bytes a note of their secrets may have, since each dead letter has one.
#: Where it would have more, all is secret.
_LEVELS, _MOST_BYTES = 8, 1024
#: After so many findings no more are looked for: a type that holds itself in several fields has any number.
_FOUND = 1000
#: Ends a place that is too deep to look into it, which only types reach that hold themselves.
_TOO_DEEP = "a step that no message has"


class Secrets(msgspec.Struct, frozen=True, array_like=True):
    """Where the requests of a handler have secrets, besides the fields with usual names of secrets."""

    names: tuple[str, ...] = ()
    """Names of fields, wherever they are."""
    places: tuple[Path, ...] = ()
    """Places in the message."""

    def of_each(self) -> Secrets:
        """Where a list of such values has them."""
        return Secrets(self.names, tuple((None, *place) for place in self.places))


NO_SECRETS, ALL_SECRET = Secrets(), Secrets(places=((),))
#: Where requests have them whose handler is this library's own, so that no view has to be told of its module: items of
#: functions, and what lets these be called.
OF_OWN_HANDLERS = {"shardq.functions.apply/Apply": Secrets(places=((1,), (2,)))}


def secrets_of(kind: Any, names: Sequence[str] = ()) -> Secrets:
    """Where requests of a type have secrets. `names` are those that the handler names. No code of the type runs. Of a
    type that msgspec does not know, only the names are known.
    """
    walk = _Walk(frozenset(map(plain_name, names)))
    try:
        found = list(islice(walk.of(kind, _LEVELS), _FOUND))
    except Exception:  # all that annotations can raise
        found = []
    if all(_TOO_DEEP in place for place in found):
        return Secrets(tuple(names))
    # What is too deep may have the same secrets again.
    places = tuple(dict.fromkeys(tuple(step for step in place if step is not _TOO_DEEP) for place in found))
    known = Secrets(tuple(names), places)
    return known if len(msgspec.msgpack.encode(known)) <= _MOST_BYTES else ALL_SECRET


def masked(value: Any, secrets: Secrets = NO_SECRETS) -> Any:
    """The decoded content of a message, with a mask in the place of each secret."""
    for place in secrets.places:
        value = _masked_at(value, place)
    return _masked_by_name(value, frozenset(map(plain_name, secrets.names)))


def revealed(value: Any, secrets: Secrets = NO_SECRETS) -> Any:
    """The same with its secrets."""
    return value


def _masked_by_name(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {
            key: MASK if _is_named(key, names) and its is not None else _masked_by_name(its, names)
            for key, its in value.items()
        }
    return [_masked_by_name(its, names) for its in value] if isinstance(value, list) else value


def _masked_at(value: Any, place: Path) -> Any:
    if not place:
        return value if value is None else MASK
    step, further = place[0], place[1:]
    if isinstance(value, dict):
        return {key: _masked_at(its, further) if step in (None, key) else its for key, its in value.items()}
    if isinstance(value, list):
        return [_masked_at(its, further) if step in (None, at) else its for at, its in enumerate(value)]
    return value


def _is_named(name: Any, names: frozenset[str]) -> bool:
    return isinstance(name, str) and (is_secret(name) or plain_name(name) in names)


class _Walk:
    """Goes through a type and the types of all that it holds."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def of(self, kind: Any, levels: int) -> Iterator[Path]:
        """The places of secrets in a value of this type. msgspec forgets what a collection holds that it does not know,
        so collections are gone through here.
        """
        origin, inner = get_origin(kind), get_args(kind)
        if origin is Annotated:
            yield from self.of(inner[0], levels)
        elif origin in (Union, UnionType) and levels:
            for its in inner:
                yield from self.of(its, levels - 1)
        elif isinstance(origin, type) and not _has_fields(origin) and levels:
            yield from self._held(origin, inner, levels)
        else:
            with suppress(TypeError, NameError):
                yield from self._places(seen.type_info(kind), levels)

    def _held(self, collection: type, inner: Sequence[Any], levels: int) -> Iterator[Path]:
        """Of what a collection holds: the values of a mapping, the members of all others."""
        if issubclass(collection, tuple) and Ellipsis not in inner:
            for at, its in enumerate(inner):
                yield from self._below(at, its, levels)
            return
        for its in inner[issubclass(collection, Mapping) :]:
            yield from self._below(None, its, levels)

    def _places(self, node: Any, levels: int) -> Iterator[Path]:
        cls = getattr(node, "cls", None)
        if isinstance(cls, type) and issubclass(cls, secrets()):
            yield ()
        if not levels:
            if cls is not None or hasattr(node, "types"):
                yield (_TOO_DEEP,)
            return
        if is_model(cls):
            yield from self._of_model(cls, levels)
        for inner in getattr(node, "types", ()):
            yield from self._places(inner, levels - 1)
        for inner in ("item_type", "value_type"):
            yield from self._below(None, getattr(node, inner, None), levels)
        for at, inner in enumerate(getattr(node, "item_types", ())):
            yield from self._below(at, inner, levels)
        tagged, hints = getattr(node, "tag", None) is not None, _hints_of(cls)
        for at, field in enumerate(getattr(node, "fields", ()), start=tagged):
            as_array = isinstance(node, seen.NamedTupleType) or getattr(node, "array_like", False)
            kind = hints.get(field.name, field.type)
            yield from self._field(at if as_array else field.encode_name, field.name, kind, levels)

    def _field(self, step: Step, name: str, kind: Any, levels: int) -> Iterator[Path]:
        return iter([(step,)]) if _is_named(name, self._names) else self._below(step, kind, levels)

    def _of_model(self, model: type[BaseModel], levels: int) -> Iterator[Path]:
        """Of a pydantic model. The message of a root model is its root; a field of JSON is one text."""
        if is_root(model):
            yield from self.of(model.model_fields["root"].annotation, levels - 1)
            return
        for name, field in model.model_fields.items():
            places = self._field(name, name, field.annotation, levels)
            yield from ((name,) for _ in islice(places, 1)) if is_json(field) else places

    def _below(self, step: Step, kind: Any, levels: int) -> Iterator[Path]:
        """Of a part, whose type is given as such or as msgspec sees it; None: there is no such part."""
        if kind is not None:
            found = self._places(kind, levels - 1) if isinstance(kind, seen.Type) else self.of(kind, levels - 1)
            yield from ((step, *place) for place in found)


def _has_fields(kind: type) -> bool:
    """Whether a generic class is one of named fields, and no collection."""
    named = is_dataclass(kind) or is_typeddict(kind) or is_model(kind) or hasattr(kind, "_fields")
    return named or issubclass(kind, msgspec.Struct)


def _hints_of(cls: Any) -> dict[str, Any]:
    """The types of the fields of a class, as they are written; nothing where they are not to be had."""
    try:
        return get_type_hints(cls)
    except Exception:  # all that annotations can raise
        return {}
