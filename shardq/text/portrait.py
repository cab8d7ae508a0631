"""Exceptions as they can be shown, also those that the code of users made.

An exception of a user is an object with code of its own: its `__str__` may raise, sleep or return 300 MB, its chain may
have 20,000 members or no end. A *portrait* looks like it to all code that prints exceptions, Python's `traceback` and
every formatter of logs, and has none of its code. The name of its class, its message, its notes, its traceback and the
exceptions it came from are read once, and bounded. What Python itself keeps of them is read without calling the object.
"""

from __future__ import annotations

import linecache
import os
import stat
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar

from shardq.text.printable import cut, printable, shown, type_name
from shardq.text.secret_names import without_secrets

#: Interrupts plain code with an exception after so many seconds, while entered.
Alarm = Callable[[float], AbstractContextManager[None]]

#: How many seconds all calls of an exception's own code may take together, where they can be interrupted: less than a
#: supervisor leaves a batch beyond its time.
_MOST_S = 0.5
#: Most characters of a message and of a note; most notes; and the length from which an argument is large.
_MESSAGE_CHARACTERS, _NOTES, _LARGE = 4000, 16, 100_000
#: So much of a message is looked through for secrets.
_SEARCHED_CHARACTERS = 64_000
#: Most exceptions of a chain, of a group, and of all together; how deep groups are looked into, and how far a chain is
#: followed.
_CHAIN, _GROUP, _ALL, _LEVELS, _FOLLOWED = 16, 15, 64, 8, 100_000
#: Most frames of all tracebacks together, and how many each may have even so.
_FRAMES, _LEAST_FRAMES = 2000, 20
#: A source that is larger, or is no file, is not read for a traceback.
_SOURCE_BYTES = 8 << 20
#: Most characters of a traceback in a log.
_TEXT_CHARACTERS = 64_000

_LOST = "an exception that cannot be shown"


def _kept(owner: type, name: str) -> Callable[[Any], Any]:
    """Reads an attribute where Python keeps it, past everything that a class may put in its way."""
    read: Callable[[Any], Any] = owner.__dict__[name].__get__
    return read


_cause, _context = _kept(BaseException, "__cause__"), _kept(BaseException, "__context__")
_suppressed, _traceback = _kept(BaseException, "__suppress_context__"), _kept(BaseException, "__traceback__")
_arguments, _attributes = _kept(BaseException, "args"), _kept(BaseException, "__dict__")
#: The exceptions of a group.
members = _kept(BaseExceptionGroup, "exceptions")
#: Where in the source the error is.
_PLACES = ("lineno", "offset", "end_lineno", "end_offset")
_syntax = {name: _kept(SyntaxError, name) for name in ("msg", "filename", "text", *_PLACES)}


class _Portrait(Exception):
    """The portrait of an exception. Its class has the same name as that of the exception."""

    shown_message = _LOST

    def __str__(self) -> str:
        return self.shown_message


class _PortraitOfSyntax(_Portrait, SyntaxError):
    """The portrait of a `SyntaxError`: Python shows the line of the source as well."""


class _PortraitOfGroup(_Portrait, ExceptionGroup[Exception]):
    """The portrait of a group: Python shows its members as well."""


_One = TypeVar("_One", bound=_Portrait)


def portrait(error: BaseException, alarm: Alarm = lambda limit_s: nullcontext()) -> Exception:
    """The portrait of an exception. `alarm` interrupts the exception's own code, which is called only here."""
    if issubclass(type(error), _Portrait):
        return error  # type: ignore[return-value]
    try:
        return _Painter(alarm).chain(error, _LEVELS)
    except BaseException:
        try:
            return _named(_Portrait, type(error))
        except BaseException:
            return _Portrait(_LOST)


def line(error: BaseException, most: int = 1000) -> str:
    """The exception alone, its class and its message."""
    try:
        shown_error = portrait(error)
        text = "".join(traceback.format_exception_only(shown_error))
    except BaseException:
        text = _LOST
    return cut(printable(text.strip(), keep="\n\t"), most)


def text(error: BaseException, most: int = _TEXT_CHARACTERS) -> str:
    """The exception as Python prints it, with traceback, notes and what it came from."""
    try:
        shown_error = portrait(error)
        whole = "".join(traceback.format_exception(shown_error))
    except BaseException:
        whole = f"{line(error)}\n"
    return cut(printable(whole, keep="\n\t"), most)


class _Painter:
    """Makes the portraits of one exception and of all it came from."""

    def __init__(self, alarm: Alarm) -> None:
        self._alarm = alarm
        self._left_s = _MOST_S
        self._seen: set[int] = set()
        self._left = _ALL
        self._frames = _FRAMES

    def chain(self, error: BaseException, levels: int) -> Exception:
        """The portrait of the exception, with those of the exceptions it came from."""
        chain = list(self._before(error))
        if skipped := max(0, len(chain) - _CHAIN):
            del chain[_CHAIN - 1 : -1]
        former: Exception | None = None
        was_cause = False
        painted = [(self._one(one, levels), is_cause) for one, is_cause in chain]
        if skipped:
            painted[-2][0].add_note(f"[{skipped:,} exceptions between this one and the first are not shown]")
        for one, is_cause in reversed(painted):
            if former is not None and was_cause:
                one.__cause__ = former
            else:
                one.__context__ = former
            former, was_cause = one, is_cause
        return painted[0][0]

    def _before(self, error: BaseException | None) -> Iterator[tuple[BaseException, bool]]:
        """The exception and each one it came from, the latest first; with each, whether it is the cause of the one that
        was yielded before it.
        """
        is_cause, count = False, 0
        while error is not None and id(error) not in self._seen and count < _FOLLOWED:
            self._seen.add(id(error))
            count += 1
            yield error, is_cause
            cause = _cause(error)
            is_cause = cause is not None
            error = cause if is_cause or _suppressed(error) else _context(error)

    def _one(self, error: BaseException, levels: int) -> Exception:
        self._left -= 1
        kind = type(error)
        likeness = self._likeness(error, kind, levels)
        likeness.shown_message = self._message(error, kind)
        trace, skipped = self._trimmed(_traceback(error))
        likeness.__traceback__ = trace
        for note in self._notes(error):
            likeness.add_note(note)
        if skipped:
            likeness.add_note(f"[{skipped:,} frames in the middle of this traceback are not shown]")
        return likeness

    def _likeness(self, error: BaseException, kind: type[BaseException], levels: int) -> _Portrait:
        if issubclass(kind, BaseExceptionGroup) and levels > 0:
            return self._of_group(error, kind, levels)
        if issubclass(kind, SyntaxError):
            return self._of_syntax(error, kind)
        return _named(_Portrait, kind)

    def _of_group(self, error: BaseException, kind: type[BaseException], levels: int) -> _Portrait:
        all_members, shown_members = members(error), []
        for member in all_members[:_GROUP]:
            if self._left > 0 and id(member) not in self._seen:
                shown_members.append(self.chain(member, levels - 1))
        if not shown_members:
            return _named(_Portrait, kind)
        likeness = _named(_PortraitOfGroup, kind, "", shown_members)
        if left := len(all_members) - len(shown_members):
            likeness.add_note(f"[{left:,} more exceptions of this group are not shown]")
        return likeness

    def _of_syntax(self, error: BaseException, kind: type[BaseException]) -> _Portrait:
        likeness = _named(_PortraitOfSyntax, kind)
        found = {name: read(error) for name, read in _syntax.items()}
        for name in ("msg", "filename", "text"):
            if (its := found[name]) is not None:
                setattr(likeness, name, _readable(its) if type(its) is str else shown(its))
        # Python underlines as many characters as there are between the two offsets.
        most = {"end_offset": len(likeness.text or "") + 1}
        for name in _PLACES:
            if type(its := found[name]) is int and abs(its) <= most.get(name, 1 << 31):
                setattr(likeness, name, its)
        likeness.msg = likeness.msg or "<no detail available>"
        return likeness

    def _message(self, error: BaseException, kind: type[BaseException]) -> str:
        arguments = _arguments(error)
        if _are_large(arguments) and _speaks_as_python_does(kind):
            [only] = arguments if len(arguments) == 1 else [arguments]
            plain = type(only) is str and not issubclass(kind, KeyError)
            return _readable(only) if plain else shown(only)
        return self._asked(str, error)

    def _notes(self, error: BaseException) -> Iterator[str]:
        notes = dict.get(_attributes(error), "__notes__")
        if notes is None:
            return
        if type(notes) not in (list, tuple):
            yield self._asked(repr, notes)
            return
        for note in notes[:_NOTES]:
            yield self._asked(str, note)
        if len(notes) > _NOTES:
            yield f"[{len(notes) - _NOTES:,} more notes are not shown]"

    def _asked(self, ask: Callable[[Any], str], value: Any) -> str:
        """The text that `ask` gets from the user's object, printable and cut."""
        if self._left_s < _MOST_S / 100:
            return f"<exception {ask.__name__}() was not asked for, those before took too long>"
        try:
            return _readable(self._answer(ask, value))
        except BaseException:
            how = "took too long" if self._left_s <= 0 else "failed"
            return f"<exception {ask.__name__}() {how}>"

    def _answer(self, ask: Callable[[Any], str], value: Any) -> str:
        """Counts only the time of the user's code: the rest may be slow because the machine is busy."""
        begun = monotonic()
        try:
            with self._alarm(self._left_s):
                return str.__str__(ask(value))
        finally:
            self._left_s -= monotonic() - begun

    def _trimmed(self, trace: TracebackType | None) -> tuple[TracebackType | None, int]:
        """The traceback without its middle where it is too long, and how many frames it lost."""
        steps, step = [], trace
        while step is not None:
            steps.append(step)
            step = step.tb_next
        most = max(self._frames, _LEAST_FRAMES)
        self._frames = max(0, self._frames - len(steps))
        skipped = max(0, len(steps) - most)
        del steps[most // 2 : most // 2 + skipped]
        for name in {step.tb_frame.f_code.co_filename for step in steps}:
            _leave_unread_if_endless(name)
        if not skipped:
            return trace, 0
        trimmed: TracebackType | None = None
        for step in reversed(steps):
            trimmed = TracebackType(trimmed, step.tb_frame, step.tb_lasti, step.tb_lineno)
        return trimmed, skipped


def _are_large(arguments: tuple[Any, ...]) -> bool:
    """Whether Python would write out far more than is shown. Nothing could interrupt it."""
    kinds = (str, bytes, bytearray, list, tuple, set, dict)
    return any(type(its) in kinds and len(its) > _LARGE for its in (arguments, *arguments[:_NOTES]))


def _speaks_as_python_does(kind: type) -> bool:
    """Whether the class has no `__str__` written in Python."""
    bases = type.__dict__["__mro__"].__get__(kind)
    spaces = (type.__dict__["__dict__"].__get__(base) for base in bases)
    method = next(space["__str__"] for space in spaces if "__str__" in space)
    return type(method) is type(BaseException.__str__)


def _readable(message: str) -> str:
    """The text printable, without secrets, and cut: again at last, since escapes are longer than what they stand for.
    A secret goes before, with its name: what is cut off may be the name, and leave the end of the secret.
    """
    shown_part = cut(without_secrets(cut(message, _SEARCHED_CHARACTERS)), _MESSAGE_CHARACTERS)
    return cut(printable(shown_part, keep="\n\t"), _MESSAGE_CHARACTERS)


def _named(base: type[_One], kind: type, *arguments: Any) -> _One:
    """A portrait whose class has the name of `kind`."""
    module: Any = type.__dict__["__module__"].__get__(kind)
    names = {
        "__module__": printable(str.__str__(module)) if issubclass(type(module), str) else "builtins",
        "__qualname__": type_name(kind),
    }
    named: type[_One] = type(type_name(kind, qualified=False), (base,), names)
    return named(*arguments)


def _leave_unread_if_endless(filename: str) -> None:
    """Keep code that prints tracebacks from reading a source that is a pipe, a device or a very large file."""
    try:
        found = os.stat(filename)
    except (OSError, ValueError):
        return  # no file: a loader may have it
    if not stat.S_ISREG(found.st_mode) or found.st_size > _SOURCE_BYTES:
        linecache.cache[filename] = (0, None, [], filename)  # without a time of change it is never read again
