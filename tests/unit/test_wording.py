"""Numbers with their nouns."""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardq.cli.pausing import pause_lines
from shardq.cli.render import age
from shardq.model import Counts, Pause
from shardq.serving.lifecycle import what_stays
from shardq.supervisor.output.progress import Progress
from shardq.text.wording import counted, with_article

SOURCES = sorted((Path(__file__).parents[2] / "shardq").rglob("*.py"))

#: A noun in the plural behind a number that may be one, in a text with values in it.
PLURAL = re.compile(
    r"^ (dead letters|(deferred |recurrent )?requests|messages|workers|processes|threads|tubes|routes|slots|seconds)\b"
)


@pytest.mark.parametrize(
    ("number", "nouns", "text"),
    [
        (0, ("process", "processes"), "0 processes"),
        (1, ("process", "processes"), "1 process"),
        (2, ("process", "processes"), "2 processes"),
        (1, ("dead letter",), "1 dead letter"),
        (1_234_567, ("dead letter",), "1,234,567 dead letters"),
        (-1, ("day",), "-1 days"),
    ],
)
def test_a_noun_is_in_the_number_of_its_number(number: int, nouns: tuple[str, ...], text: str) -> None:
    assert counted(number, *nouns) == text


@pytest.mark.parametrize(
    "text", ["an int", "a str", "an Order", "a list", "an islice", "a generator", "a UUID", "a NoneType"]
)
def test_a_noun_has_its_article(text: str) -> None:
    assert with_article(text.split()[1]) == text


def test_no_text_has_its_own_plural() -> None:
    assert [found for path in SOURCES for found in _own_plurals(path)] == []


def _own_plurals(path: Path) -> Iterator[str]:
    for text in ast.walk(ast.parse(path.read_text())):
        if isinstance(text, ast.JoinedStr):
            for value, part in zip(text.values, text.values[1:], strict=False):
                if (
                    isinstance(value, ast.FormattedValue)
                    and isinstance(part, ast.Constant)
                    and PLURAL.match(part.value)
                ):
                    yield f"{path}, line {part.lineno}: {part.value}"


NOTHING = Counts(3, 3)


@pytest.mark.parametrize(
    ("left", "pids", "beginning"),
    [
        (
            NOTHING._replace(accepted=4),
            [],
            "1 request stays in shm://a: `python -m shardq.supervise app.jobs --url shm://a`",
        ),
        (NOTHING._replace(accepted=5), [7], "2 requests stay in shm://a"),
        (
            Counts(accepted=3, handled=2, buried=2, dead=1, deferred=1, recurrent=1, evicted=1),
            [],
            "1 request, 1 deferred request, 1 recurrent request, 1 dead letter stay in shm://a",
        ),
        (NOTHING._replace(buried=1, dead=1), [], "1 dead letter stays in shm://a"),
        (
            NOTHING,
            [7],
            "shm://a is empty and stays for 1 process (7) attached to it: `python -m shardq.s",
        ),
        (
            NOTHING,
            [],
            "results that are kept, or pauses of handlers, stay in shm://a: `python -m shardq.supervise app.jobs --url shm://a`",
        ),
        (NOTHING, [7, 8], "shm://a is empty and stays for 2 processes (7, 8) attached to it"),
    ],
)
def test_a_segment_that_stays_is_told_with_the_reason(left: Counts, pids: list[int], beginning: str) -> None:
    assert what_stays("shm://a", ["app.jobs"], left, pids).startswith(beginning)


@pytest.mark.parametrize(
    ("handled", "failed", "text"),
    [
        (1, 0, "1 request done in 4.0 s (0/s)"),
        (2, 1, "2 requests done in 4.0 s (0/s), 1 failed and is a dead letter"),
        (3, 2, "3 requests done in 4.0 s (1/s), 2 failed and are dead letters"),
    ],
)
def test_the_summary_of_a_drain_counts_as_people_do(handled: int, failed: int, text: str) -> None:
    assert Progress(0.0).summary(4.0, handled, 0, failed) == text


def test_what_the_clock_of_another_host_puts_ahead_has_no_age() -> None:
    assert (age(-2.5), age(0.0), age(2.5)) == ("", "", "2.5 s")
    ahead_us = time.time_ns() // 1000 + 60_000_000
    [paused, over] = pause_lines([Pause("m/H", ahead_us), Pause("m/H", ahead_us, 1)])

    assert paused == "paused:   m/H 0 s ago, until it is resumed"
    assert over == "paused:   m/H 0 s ago, for 0 s more"
