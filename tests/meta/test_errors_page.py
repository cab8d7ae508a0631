"""The page of errors has each error and each exit code, with what to do next, and what it advises can be typed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import shardq.errors
from docs.extensions.facts import FACTS, errors, exits
from docs.extensions.facts.advice import Advice, advice_of
from shardq.errors import ShardqError
from shardq.supervisor.exits import Exit
from tests.support.documents.reading import check_commands

CLASSES = errors.classes()
ALL_ADVICE = [*map(errors.advice, CLASSES), *exits.meanings().values()]


def test_no_error_is_missing() -> None:
    headings = re.findall(r"^## (\w+)$", FACTS["errors"](), re.MULTILINE)
    source = Path(shardq.errors.__file__).read_text(encoding="utf-8")
    assert headings == re.findall(r"^class (\w+)\(", source, re.MULTILINE)


def test_no_exit_code_is_missing() -> None:
    assert list(exits.meanings()) == [code.name for code in Exit]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_an_error_says_what_happened_and_what_to_do_next(cls: type[ShardqError]) -> None:
    its = errors.advice(cls)
    assert its.what
    assert its.next


@pytest.mark.parametrize("code", Exit, ids=lambda code: code.name)
def test_an_exit_code_says_what_happened_and_what_to_do_next(code: Exit) -> None:
    its = exits.meanings()[code.name]
    assert its.what
    assert its.next


def test_each_command_that_is_advised_is_one() -> None:
    for advice in ALL_ADVICE:
        for command in re.findall(r"`((?:python -m )?shardq[ .][^`]*)`", advice.next):
            # Of a command that needs more words, the name alone stands in a sentence.
            words = command.replace("PIPE", "a/B/0/0")
            words += {"shardq why": " a/B/0/0", "shardq dead requeue": " --all", "shardq dead drop": " --all"}.get(
                words, ""
            )
            words += {"shardq resume": " a/B", "shardq park": " a/B/0/0", "shardq move": " shm://a shm://b"}.get(
                words, ""
            )
            check_commands(words)


def test_messages_name_what_differs_from_case_to_case() -> None:
    found = errors.messages()
    assert (
        "segment NAME exists already: attach to it, or `shardq destroy --url shm://NAME` first"
        in found["SegmentExists"]
    )
    assert sum(map(len, found.values())) > 250


def test_a_docstring_is_read_in_its_parts() -> None:
    assert advice_of("What\n    happened.\n\n    Why: one\n    two.\n    Next: do it.\n    ") == Advice(
        "What happened.", "one two.", "do it."
    )
    assert advice_of("What happened.") == Advice("What happened.", "", "")
