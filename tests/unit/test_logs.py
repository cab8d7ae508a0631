"""Lines of a log: what they show of foreign texts and of exceptions, for people and for machines."""

from __future__ import annotations

import io
import json
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import pytest

from shardq.supervisor.output import logs
from tests.support.malign import MALIGN

HOSTILE = "\x1b[31mred\x9b0m \u202egnp.exe\u200b\u2028\x7f\r"


@contextmanager
def logging_to(out: io.StringIO, *, as_json: bool) -> Iterator[None]:
    """Logs as a supervisor configures them, for the block; the loggers are put back in the end."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    for handler in handlers:
        root.removeHandler(handler)  # or they would be closed
    try:
        with redirect_stderr(out):
            logs.configure("info", as_json=as_json)
            yield
    finally:
        root.handlers = handlers
        root.setLevel(level)


@pytest.mark.parametrize("how", MALIGN)
@pytest.mark.parametrize("as_json", [False, True], ids=["lines", "JSON"])
def test_every_exception_is_logged(how: str, as_json: bool) -> None:
    out = io.StringIO()
    with logging_to(out, as_json=as_json):
        error = MALIGN[how]()
        # As `sys.exc_info()` would: of an exception alone `logging` itself asks for its traceback.
        logging.getLogger("user").error("it failed", exc_info=(type(error), error, None), extra={"key": "value"})

    text = out.getvalue()
    assert "Logging error" not in text
    assert "it failed" in text
    assert len(text) < 500_000
    assert [one for one in text if not (one.isprintable() or one in "\n\t")] == []
    if as_json:
        line = json.loads(text)
        assert (line["event"], line["key"]) == ("it failed", "value")
        assert line["exception"]


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no word")


@pytest.mark.parametrize("as_json", [False, True], ids=["lines", "JSON"])
def test_a_field_that_cannot_be_written_costs_no_line(as_json: bool) -> None:
    endless: list[object] = []
    endless.append(endless)
    odd = {"share": math.nan, "pairs": {(1, 2): 3}, "endless": endless, "mute": Mute(), "digits": 10**5000}
    out = io.StringIO()
    with logging_to(out, as_json=as_json):
        logging.getLogger("user").warning("odd", extra=odd | {"plain": [1, "two"]})

    text = out.getvalue()
    assert "Logging error" not in text
    assert "odd" in text
    if as_json:
        line = json.loads(text, parse_constant=pytest.fail)
        assert (line["event"], line["share"], line["pairs"]) == ("odd", "nan", "{(1, 2): 3}")
        assert line["plain"] == [1, "two"]


def test_control_characters_are_escaped() -> None:
    out = io.StringIO()
    with logging_to(out, as_json=False):
        logging.getLogger("user").warning("a %s\n\tb", HOSTILE, extra={"pipe": f"{HOSTILE}\nforged line"})
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            logging.getLogger("user").exception("failed")

    text = out.getvalue()
    assert [one for one in text if not (one.isprintable() or one in "\n\t")] == []
    first, second, *others = text.splitlines()
    assert first.endswith(r"WARNING a \x1b[31mred\x9b0m \u202egnp.exe\u200b\u2028\x7f\r")
    assert second == "\tb pipe=" + r"\x1b[31mred\x9b0m \u202egnp.exe\u200b\u2028\x7f\r\nforged line"
    assert others[-1] == r"ValueError: \x1b[31mred\x9b0m \u202egnp.exe\u200b\u2028\x7f\r"
    assert others[1] == "Traceback (most recent call last):"


def test_a_field_takes_the_place_of_no_part_of_the_line() -> None:
    out = io.StringIO()
    with logging_to(out, as_json=True):
        logging.getLogger("user").warning("Ann came", extra={"event": "signup", "level": "gold", "exception": "none"})

    line = json.loads(out.getvalue())
    assert (line["event"], line["level"], line["exception"]) == ("Ann came", "warning", "none")
    assert (line["event_"], line["level_"]) == ("signup", "gold")


def test_json_has_them_as_json_has_them() -> None:
    out = io.StringIO()
    with logging_to(out, as_json=True):
        logging.getLogger("user").warning("a %s", HOSTILE, extra={"pipe": HOSTILE})

    text = out.getvalue()
    assert text.removesuffix("\n").isprintable()
    line = json.loads(text)
    assert (line["event"], line["pipe"]) == (f"a {HOSTILE}", HOSTILE)


@pytest.mark.parametrize("as_json", [False, True], ids=["lines", "JSON"])
def test_a_stack_that_was_asked_for_is_logged(as_json: bool) -> None:
    out = io.StringIO()
    with logging_to(out, as_json=as_json):
        logging.getLogger("user").warning("here", stack_info=True)
        logging.getLogger("user").handle(logging.makeLogRecord({"msg": "there", "levelno": 30, "stack_info": HOSTILE}))

    text = out.getvalue()
    assert "test_a_stack_that_was_asked_for_is_logged" in text
    assert [one for one in text if not (one.isprintable() or one in "\n\t")] == []
    if as_json:
        here, there = map(json.loads, text.splitlines())
        assert here["stack"].startswith("Stack (most recent call last):")
        assert there["stack"] == r"\x1b[31mred\x9b0m \u202egnp.exe\u200b\u2028\x7f\r"
