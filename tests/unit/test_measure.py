"""The counting of the census, on snippets small enough to count by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.census.measure import UNPARSED, Counts, measure_file, measure_source


@pytest.mark.parametrize(
    ("source", "lines"),
    [("", 0), ("x = 1", 1), ("x = 1\n", 1), ("x = 1\n\n", 2), ('"""a\fb\vc"""\n', 1)],
)
def test_lines_are_counted_as_an_editor_counts_them(source: str, lines: int) -> None:
    assert measure_source(source) == Counts(files=1, lines=lines)


def test_functions_count_async_nested_and_methods_but_no_lambdas() -> None:
    source = "def f():\n def g(): pass\nclass C:\n async def h(self): return lambda: 0\n"
    assert measure_source(source) == Counts(files=1, lines=4, functions=3, classes=1)


@pytest.mark.parametrize(
    ("source", "branches"),
    [
        ("if a: pass\nelif b: pass\nelse: pass", 2),
        ("x = a if b else c", 1),
        ("for a in b: pass\nelse: pass", 1),
        ("while a: pass", 1),
        ("async def f():\n async for a in b: pass", 1),
        ("with a: pass", 0),
        ("x = a and b and c", 2),
        ("x = a and (b or c)", 2),
        ("x = [a for a in b if c if d]", 3),
        ("x = {a: b for a in c for b in a}", 2),
        ("try: pass\nexcept A: pass\nexcept B: pass\nelse: pass\nfinally: pass", 2),
        ("match a:\n case 1: pass\n case _: pass", 2),
    ],
)
def test_branches(source: str, branches: int) -> None:
    assert measure_source(source).branches == branches


@pytest.mark.parametrize(
    "source",
    ["def", "x = '\0'", "(" * 1000, "-" * 100_000 + "1"],
    ids=["syntax", "null byte", "parentheses", "deep unary"],
)
def test_what_does_not_parse_is_counted_and_not_raised(source: str) -> None:
    assert measure_source(source) == UNPARSED


def test_what_only_some_versions_parse_is_not_raised() -> None:
    assert measure_source("x" + ".y" * 100_000) in (UNPARSED, Counts(files=1, lines=1))


def test_dubious_source_gives_no_warning() -> None:
    assert measure_source("x = '\\d'\nx is 1\n") == Counts(files=1, lines=2)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"# coding: latin-1\nx = '\xe9'\n", Counts(files=1, lines=2)),
        (b"\xef\xbb\xbfx = 1\n", Counts(files=1, lines=1)),
        (b"x = 1\r\ny = 2\r\n", Counts(files=1, lines=2)),
        (b"x = '\xe9'\n", UNPARSED),
        (b"x = 1\n" * 3 + b"y = '\xe9'\n", UNPARSED),
        (b"# coding: no-such-codec\n", UNPARSED),
    ],
    ids=["latin-1", "byte order mark", "carriage returns", "not utf-8", "not utf-8 late", "no such codec"],
)
def test_files_are_decoded_as_they_say(tmp_path: Path, content: bytes, expected: Counts) -> None:
    path = tmp_path / "source.py"
    path.write_bytes(content)
    assert measure_file(str(path)) == expected


def test_a_file_that_cannot_be_read_is_counted(tmp_path: Path) -> None:
    assert measure_file(str(tmp_path / "missing.py")) == UNPARSED
