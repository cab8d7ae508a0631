"""What a request type tells of its requests before there is one. It is found out once for each type.

MessagePack has fewer types than Python, so a type may hold values that cannot come back as they were sent. Where the
type alone shows that, the codec refuses the type. Where only values show it, `Traits` says which requests the codec has
to try out.
"""

from __future__ import annotations

import enum
from collections import defaultdict, deque
from collections.abc import (
    AsyncIterable,
    Collection,
    Container,
    Iterable,
    Iterator,
    MutableSequence,
    Reversible,
    Sequence,
)
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import PurePath
from re import Pattern
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec.inspect as seen

from shardq.encoding.foreign import PLAIN, is_known, is_model, secrets

if TYPE_CHECKING:
    from pydantic import BaseModel


class Order(enum.IntEnum):
    """What has to be done so that equal requests have equal messages, whatever order their sets and dicts are in."""

    FIXED = 0
    """Nothing: the type holds neither sets nor dicts."""
    SORTED = 1
    """The encoder sorts them: dicts with keys that are text, sets of what has one order."""
    DEEP = 2
    """`steady` puts them into an order before the encoder sees them."""


@dataclass
class Traits:
    """What is known of all requests of a type."""

    order: Order = Order.FIXED
    own_code: bool = False
    """Whether code of the type runs when a request is decoded. Then only trying shows whether a request comes back."""
    anything: bool = False
    """Whether the type leaves open what a value is. Then only the value shows whether it comes back."""
    problem: str = ""
    """Why no request of the type can be relied on to come back equal, and what to write instead."""


#: An iterator, or what gives one. Encoding uses up the iterator that was sent, and a list comes back.
_ONE_WAY = (Iterable, Iterator, AsyncIterable, Container, Reversible)
#: Each of them stands for several classes, and always the same one comes back: a tuple arrives as a list.
_ABSTRACT = (Sequence, MutableSequence, Collection)
#: Written as text, so that a union of two of them does not tell which it was. Text itself is one, too.
_AS_TEXT = (
    *(date, time, timedelta, UUID, Decimal, PurePath, Pattern),
    *(IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network),
)
#: Written as an array, so that a union of two of them does not tell which it was.
_AS_ARRAY = (list, tuple, set, frozenset, deque)
#: The encoder sorts a set of one of these, so that equal sets are written alike.
_ONE_ORDER = (seen.StrType, seen.IntType, seen.BoolType, seen.BytesType, seen.UUIDType, seen.DateType)


def traits(request_type: Any) -> Traits:
    """The traits of a type. Raises `TypeError` for a type that msgspec does not know."""
    walk = _Walk()
    walk.annotation(request_type)
    walk.node(seen.type_info(request_type), getattr(request_type, "__qualname__", str(request_type)))
    return walk.found


class _Walk:
    """Goes through a type and the types of all that it holds."""

    def __init__(self) -> None:
        self.found = Traits()
        self._nodes: dict[int, Any] = {}
        """Nodes gone through, by identity. They are kept alive, so that no later node gets the same identity."""
        self._models: set[type] = set()

    def node(self, node: Any, where: str) -> None:
        if id(node) in self._nodes:
            return
        self._nodes[id(node)] = node
        match node:
            case seen.AnyType():
                self._open()
            case seen.CustomType():
                self._custom(node.cls, where)
            case seen.SetType() | seen.FrozenSetType():
                self._needs(Order.SORTED if isinstance(node.item_type, _ONE_ORDER) else Order.DEEP)
            case seen.DictType():
                text = isinstance(node.key_type, seen.StrType | seen.AnyType)
                self._needs(Order.SORTED if text else Order.DEEP)
            case seen.TypedDictType():
                self._open()  # it may have further keys, which do not arrive
        if cls := getattr(node, "cls", None):
            self.found.own_code |= hasattr(cls, "__post_init__")
            self._annotations(cls)
        for inner in ("item_type", "key_type", "value_type"):
            if hasattr(node, inner):
                self.node(getattr(node, inner), where)
        for inner in (*getattr(node, "item_types", ()), *getattr(node, "types", ())):
            self.node(inner, where)
        for field in getattr(node, "fields", ()):
            self._may_be_more(field.type)
            self.node(field.type, f"{node.cls.__qualname__}.{field.name}")

    def _may_be_more(self, node: Any) -> None:
        """A field of a class that has subclasses may hold one of them, which arrives as its base."""
        if hasattr(node, "fields") and not isinstance(node, seen.TypedDictType):
            self.found.anything |= bool(node.cls.__subclasses__())

    def annotation(self, annotation: Any) -> None:
        """Note what an annotation says that msgspec does not tell."""
        if get_origin(annotation) in _ABSTRACT or annotation in _ABSTRACT:
            self.found.anything = True
        for inner in get_args(annotation):
            if isinstance(inner, type) or get_origin(inner):
                self.annotation(inner)

    def _annotations(self, cls: Any) -> None:
        try:
            hints = get_type_hints(cls)
        except Exception:  # of a class whose own fields are not in its annotations
            return
        for annotation in hints.values():
            self.annotation(annotation)

    def _open(self) -> None:
        self.found.anything = True
        self._needs(Order.SORTED)

    def _needs(self, order: Order) -> None:
        self.found.order = max(self.found.order, order)

    def _refuse(self, reason: str) -> None:
        self.found.problem = self.found.problem or reason

    def _custom(self, cls: type, where: str) -> None:
        if cls is object:
            return self._open()
        if is_model(cls):
            return self._model(cls)
        if cls in _ONE_WAY or issubclass(cls, Iterator):
            return self._refuse(f"{where} is {cls.__name__}, which can be read only once: use list[...]")
        if issubclass(cls, defaultdict):
            return self._refuse(f"{where} is a defaultdict, whose default cannot be stored: use dict[...]")
        if not issubclass(cls, PLAIN) and not is_known(cls):
            return self._refuse(f"{where} is {cls.__name__}, which no message can hold: use what pydantic knows")
        self.found.own_code = True
        if not issubclass(cls, (*PLAIN, *_AS_TEXT, *secrets())):
            self._needs(Order.DEEP)
        return None

    def _model(self, model: type[BaseModel]) -> None:
        self.found.own_code = True
        if model in self._models:
            return
        self._models.add(model)
        if not model.__pydantic_complete__ and not model.model_rebuild(raise_errors=False):
            self._refuse(
                f"{model.__qualname__} is not complete, because its annotations name what is not there: define it "
                f"before {model.__qualname__} at the top of its module"
            )
        if model.model_config.get("extra") == "allow":
            self._open()
            self._needs(Order.DEEP)
        for name, field in model.model_fields.items():
            self._model_field(field.annotation, f"{model.__qualname__}.{name}")

    def _model_field(self, annotation: Any, where: str) -> None:
        self.annotation(annotation)
        if reason := _ambiguous(annotation):
            self._refuse(f"{where} {reason}")
        try:
            node = seen.type_info(annotation)
        except (TypeError, NameError):  # what pydantic knows and msgspec does not
            self._needs(Order.DEEP)
            for inner in get_args(annotation):
                self._model_field(inner, where)
        else:
            self.node(node, where)


def _ambiguous(annotation: Any) -> str:
    """Why a union, here or within, does not tell which of its members a value was. msgspec refuses such unions itself,
    pydantic takes the first that fits.
    """
    if get_origin(annotation) in (Union, UnionType):
        members = [get_origin(member) or member for member in map(_bare, get_args(annotation))]
        for what, group in (("text", [*filter(_is_text, members)]), ("a list", [*filter(_is_array, members)])):
            # Text that is an enumeration's is equal to text.
            different = {str if issubclass(member, str) else member for member in group}
            if len(different) > 1:
                names = " and ".join(member.__name__ for member in group)
                return f"may be {names}, which are stored as {what} alike: use one of them, or a model for each"
    return next(filter(None, map(_ambiguous, get_args(annotation))), "")


def _bare(annotation: Any) -> Any:
    return annotation.__origin__ if get_origin(annotation) is Annotated else annotation


def _is_text(member: Any) -> bool:
    if not isinstance(member, type):
        return False
    if issubclass(member, enum.Enum):
        return any(isinstance(item.value, str) for item in member)
    return issubclass(member, (str, *_AS_TEXT, *secrets()))


def _is_array(member: Any) -> bool:
    return isinstance(member, type) and issubclass(member, _AS_ARRAY)
