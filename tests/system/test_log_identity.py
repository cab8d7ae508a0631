"""What handlers log says which batch it belongs to."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from shardq import Handler, Queue, Worker
from shardq.drivers import RuntimeLock, RuntimeStorage
from shardq.logs import BatchInHand, identify
from shardq.supervisor.exits import Exit
from tests.support import talking
from tests.support.homes import Home, on_each_home
from tests.support.supervised import Start
from tests.support.talking import Many, Plain, Waiting, Word

WORDS = [Word("one"), Word("two")]


def said(start: Start, home: Home, handler: type[Handler[Any]], words: Sequence[Word]) -> dict[str, dict[str, Any]]:
    """What the handler of a real family logged, by its words. Of equal ones the last."""
    home.leave(handler, words)
    program = start(f"{talking.__name__}:{handler.__name__}", "--url", home.url, "--workers", 1, "--drain", "--json")
    assert program.end() == Exit.OK
    lines = [json.loads(line) for line in program.hear_all().splitlines() if line.startswith("{")]
    return {line["event"]: line for line in lines if line["logger"] == "talking"}


def identity(line: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(line.get(name) for name in ("pipe", "sequence", "last_sequence", "attempts"))


@on_each_home
def test_each_request_is_named(home: Home, start: Start) -> None:
    lines, pipe = said(start, home, Plain, WORDS), f"{talking.__name__}/Plain/0/0"
    first = lines["plain one"]["sequence"]
    assert identity(lines["plain one"]) == (pipe, first, None, 0)
    assert identity(lines["plain two"]) == (pipe, first + 1, None, 0)
    assert identity(lines["own one"]) == ("its own", first, None, 0)
    assert identity(lines["thread one"]) == (None, None, None, None)


def test_tasks_and_their_threads_belong_to_the_batch(home: Home, start: Start) -> None:
    lines, pipe = said(start, home, Waiting, WORDS), f"{talking.__name__}/Waiting/0/0"
    first = lines["task one"]["sequence"]
    for number, text in enumerate(["one", "two"], first):
        for where in ("task", "to thread", "after"):
            assert identity(lines[f"{where} {text}"]) == (pipe, number, None, 0)
    assert identity(lines["start"]) == (None, None, None, None)


def test_a_batch_is_named_by_its_first_and_last(home: Home, start: Start) -> None:
    lines = said(start, home, Many, WORDS)
    line = lines["many one two"]
    assert identity(line) == (f"{talking.__name__}/Many/0/0", line["sequence"], line["sequence"] + 1, 0)


def test_further_attempts_are_counted(home: Home, start: Start) -> None:
    lines = said(start, home, Plain, [Word("one", fails_once=True)])
    assert identity(lines["plain one"])[3] == 1


def test_the_lines_of_people_have_it_too(home: Home, start: Start) -> None:
    home.leave(Many, WORDS)
    program = start(f"{talking.__name__}:Many", "--url", home.url, "--workers", 1, "--drain")
    assert program.end() == Exit.OK
    assert f"many one two pipe={talking.__name__}/Many/0/0 sequence=" in program.hear_all()


async def test_an_application_has_it_where_it_adds_the_filter() -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter("%(message)s %(pipe)s %(sequence)s"))
    handler.addFilter(BatchInHand())
    talking.log.addHandler(handler)
    talking.log.setLevel("INFO")
    queue = Queue(RuntimeStorage())
    try:
        await queue.register(Many, *WORDS)
        await Worker(RuntimeLock(queue.storage), queue).loop(limit=2)
    finally:
        talking.log.removeHandler(handler)
        talking.log.setLevel("NOTSET")
    assert out.getvalue().startswith(f"many one two {talking.__name__}/Many/0/0 ")


def test_identifying_twice_adds_one_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = logging.NullHandler()
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    identify()
    identify()
    assert [type(its) for its in handler.filters] == [BatchInHand]
