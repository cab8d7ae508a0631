"""Foreign values and texts as they may stand in a message, in a log line or on a terminal: short, and harmless there.

No function here trusts its arguments: a name may carry escape codes, a `__repr__` may raise, a value may be endless.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from unicodedata import category, east_asian_width

from shardq.text.secret_names import MASK, is_secret, without_secrets

#: Most characters of a value in a message, most of its members, and how deep they are looked into.
_CHARACTERS, _MEMBERS, _LEVELS = 300, 24, 6
#: So much of what a `__repr__` returned is looked through for secrets, and the rest is not shown.
_REPR_CHARACTERS = 2 * _CHARACTERS
#: Integers of more bits are not written out: Python refuses the largest, and takes long for large ones.
_BITS = 1024
#: Brackets of the containers that are looked into, member by member.
_BRACKETS: dict[type, Sequence[str]] = {
    list: "[]",
    tuple: "()",
    set: "{}",
    frozenset: ("frozenset({", "})"),
    dict: "{}",
}


def printable(text: str, keep: str = "") -> str:
    """The text, with an escape as Python writes it for each character that is not simply visible: control characters,
    marks of direction and of no width, separators of lines, halves of surrogates. Characters in `keep` stay.
    """
    if text.isprintable():
        return text
    return "".join(one if _is_seen(one) or one in keep else one.encode("unicode_escape").decode() for one in text)


def cut(text: str, most: int) -> str:
    """The text, without its middle where it has more characters than `most`."""
    return text if len(text) <= most else f"{text[: most // 2]}\n...\n{text[-most // 2 :]}"


def cut_to_bytes(text: str, most: int) -> str:
    """The text, without its middle where it has more bytes in UTF-8 than about `most`."""
    if 4 * len(text) <= most or len(whole := text.encode(errors="replace")) <= most:
        return text
    return f"{whole[: most // 2].decode(errors='ignore')}\n...\n{whole[-most // 2 :].decode(errors='ignore')}"


def fitted(text: str, columns: int) -> str:
    """As much of the text as fits into so many columns of a terminal, where some characters take two."""
    if text.isascii():
        return text[: max(columns, 0)]
    for place, character in enumerate(text):
        columns -= 1 + (east_asian_width(character) in "WF")
        if columns < 0:
            return text[:place]
    return text


def type_name(kind: type, *, qualified: bool = True) -> str:
    """Name of a class, as Python keeps it: a metaclass may answer with something else, or raise."""
    name: Any = type.__dict__["__qualname__" if qualified else "__name__"].__get__(kind)
    return printable(str.__str__(name)[:_CHARACTERS])


def shown(value: object) -> str:
    """A value as the message of an error names it: as its `repr`, in one line and cut. It never fails, for no value. Of
    a container it reads only as much as it shows.
    """
    try:
        text = _Sketch().of(value, _LEVELS)
    except KeyboardInterrupt:
        raise
    except BaseException:
        text = _unspeakable(value)
    return printable(text if len(text) <= _CHARACTERS else f"{text[: _CHARACTERS - 3]}...")


class _Sketch:
    """Writes one value, and stops after so many members in all."""

    def __init__(self) -> None:
        self._left = _MEMBERS

    def of(self, value: Any, levels: int) -> str:
        kind = type(value)
        if kind is int and value.bit_length() > _BITS:
            return f"<an integer of {value.bit_length():,} bits>"
        if kind in (str, bytes, bytearray):
            return repr(value) if len(value) <= _CHARACTERS else f"{value[:_CHARACTERS]!r}..."
        if kind in _BRACKETS:
            return self._container(value, levels)
        if _is_plain_named_tuple(kind):
            pairs = zip(kind._fields, tuple(value), strict=True)
            inner = self._joined((f"{name}={self._member(name, its, levels)}" for name, its in pairs), levels)
            return f"{type_name(kind, qualified=False)}({inner})"
        try:
            return without_secrets(str.__str__(repr(value))[:_REPR_CHARACTERS])
        except Exception:
            return _unspeakable(value)

    def _container(self, value: Any, levels: int) -> str:
        if not value:
            return repr(value)
        opening, closing = _BRACKETS[type(value)]
        if type(value) is dict:
            members = (f"{self.of(key, levels - 1)}: {self._member(key, its, levels)}" for key, its in value.items())
        else:
            members = (self.of(its, levels - 1) for its in value)
            closing = ",)" if type(value) is tuple and len(value) == 1 else closing
        return f"{opening}{self._joined(members, levels)}{closing}"

    def _member(self, name: Any, value: Any, levels: int) -> str:
        """The value of a field or of a key."""
        return MASK if type(name) is str and value is not None and is_secret(name) else self.of(value, levels - 1)

    def _joined(self, members: Iterator[str], levels: int) -> str:
        return ", ".join(self._some(members, levels))

    def _some(self, members: Iterator[str], levels: int) -> Iterable[str]:
        if levels <= 0:
            yield "..."
            return
        for member in members:
            yield member
            self._left -= 1
            if self._left <= 0:
                yield "..."
                return


def _unspeakable(value: object) -> str:
    return f"a value of type {type_name(type(value))} that cannot be written out"


def _is_plain_named_tuple(kind: type) -> bool:
    """Whether the class writes its instances as `namedtuple` does."""
    method: Any = next((vars(base)["__repr__"] for base in kind.__mro__ if "__repr__" in vars(base)), None)
    return issubclass(kind, tuple) and getattr(method, "__module__", None) == "collections"


def _is_seen(character: str) -> bool:
    return character.isprintable() or category(character) == "Zs"
