"""A portrait shows an exception as Python does, runs none of its code where it can be avoided, and has bounds."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from shardq.text.portrait import line, portrait, text
from tests.support.malign import MALIGN, BadNotes, NoAttributes


class Outer:
    class Inner(Exception):
        pass


def divide() -> None:
    print(1 / 0)


def with_a_cause() -> None:
    try:
        divide()
    except ZeroDivisionError as error:
        raise ValueError("two", "arguments") from error


def with_notes() -> None:
    try:
        with_a_cause()
    except ValueError as error:
        error.add_note("a note\nin two lines")
        raise KeyError("key") from None


def in_another() -> None:
    try:
        divide()
    except ZeroDivisionError as error:
        error.add_note("noted")
        raise Outer.Inner("in two\nlines")  # noqa: B904


def in_groups() -> None:
    found: list[Exception] = []
    for fail in (with_a_cause, in_another):
        try:
            fail()
        except Exception as error:
            found.append(error)
    raise ExceptionGroup("both", [*found, ExceptionGroup("inner", [OSError(2, "no", "file")])])


def without_syntax() -> None:
    compile("x = = 1\n", "some.py", "exec")


def too_deep() -> None:
    too_deep()


def raised_by(fail: Callable[[], None]) -> BaseException:
    try:
        fail()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def leave() -> None:
    raise SystemExit(3)


@pytest.mark.parametrize(
    "fail", [divide, with_a_cause, with_notes, in_another, in_groups, without_syntax, too_deep, leave]
)
def test_what_does_no_harm_is_shown_as_python_shows_it(fail: Callable[[], None]) -> None:
    error = raised_by(fail)

    whole = "".join(traceback.format_exception(error))
    assert "".join(traceback.format_exception(portrait(error))) == whole == text(error)
    assert line(error) == "".join(traceback.format_exception_only(error)).strip()


@pytest.mark.parametrize("how", MALIGN)
def test_whatever_an_exception_does_it_is_shown(how: str) -> None:
    error = MALIGN[how]()

    def fail() -> None:
        raise error

    # What is raised need not be `error`: setting its traceback may have raised.
    shown = portrait(raised_by(fail))

    record = logging.LogRecord(
        "test", logging.ERROR, __file__, 1, "failed", (), (type(shown), shown, shown.__traceback__)
    )
    for whole in (text(shown), logging.Formatter().format(record)):
        assert 0 < len(whole) < 500_000
        assert all(one.isprintable() or one in "\n\t" for one in line(shown) + text(shown))
        assert _name(error) in whole


def _name(error: BaseException) -> str:
    name: str = type.__dict__["__name__"].__get__(type(error))
    return name.removeprefix("\x1b").partition("\n")[0]


def test_what_can_be_said_of_it_is_said() -> None:
    assert line(NoAttributes("why")).endswith("malign.NoAttributes: why")
    assert line(BadNotes("why")).endswith("malign.BadNotes: why")
    assert "<exception str() failed>" in line(MALIGN["raises"]())
    assert text(MALIGN["hostile names"]()).startswith(
        "\\x1b[31mRed\\n: \\x1b]0;title\\x07 \\u202e\\u2028\\x9b31m\\udcff"
    )


class Brief(Exception):
    def __str__(self) -> str:
        return f"of {len(self.args[0]):,} bytes"


def test_large_arguments_are_not_shown_where_the_class_has_better_words() -> None:
    assert line(Brief(bytes(10_000_000))).endswith("Brief: of 10,000,000 bytes")
    assert len(line(ValueError(bytes(10_000_000)))) < 1000
    assert line(ValueError("x" * 10_000_000)).startswith("ValueError: xxx")


def test_of_a_line_of_source_no_more_is_underlined_than_it_has() -> None:
    for end in (3, 1_000_000_000):
        assert len(text(SyntaxError("no", ("some.py", 1, 1, "x = =", 1, end)))) < 100


def test_what_is_left_out_is_told() -> None:
    assert "[19,984 exceptions between this one and the first are not shown]" in text(MALIGN["a chain of 20,000"]())
    assert "ValueError: 0\n" in text(MALIGN["a chain of 20,000"]())
    assert "[99,985 more exceptions of this group are not shown]" in text(MALIGN["a group of 100,000"]())
    assert "many (100000 sub-exceptions)" in text(MALIGN["a group of 100,000"]())
    assert "[99,984 more notes are not shown]" in text(MALIGN["100,000 notes"]())


def test_the_middle_of_a_long_traceback_is_left_out() -> None:
    def dig(steps: int, other: Any) -> None:
        if steps:
            other(steps - 1, dig)
        raise ValueError("at the bottom")

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        whole = text(raised_by(lambda: dig(9_000, dig)), most=10**6)
    finally:
        sys.setrecursionlimit(limit)
    assert "frames in the middle of this traceback are not shown]" in whole
    assert "ValueError: at the bottom" in whole


def test_a_portrait_of_a_portrait_is_itself() -> None:
    shown = portrait(ValueError("x"))
    assert portrait(shown) is shown
