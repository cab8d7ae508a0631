"""What commands show of the traces that requests were sent in, and that they leave requests in them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry import trace

from shardq import connect
from shardq.cli import OK, main
from shardq.drivers import SharedStorage
from shardq.encoding.generic import content_of
from shardq.model.trace import trace_id_of
from shardq.pages import each
from tests.support.drivers import MIB
from tests.support.homes import Home, SegmentHome, on_each_home
from tests.support.letters import Fulfil, Order, User, let_fail, letters_at
from tests.support.tracing import recorded

Say = Callable[..., str]


@pytest.fixture
def said(home: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """What a command on the test's storage says."""
    monkeypatch.chdir(tmp_path)
    if isinstance(home, SegmentHome):
        SharedStorage.create(home.name, 8 * MIB).detach()

    def run(*words: object) -> str:
        capsys.readouterr()
        assert main([*map(str, words), "--url", home.url]) == OK
        return "".join(capsys.readouterr())

    return run


def in_trace(home: Home) -> str:
    """Have a request become a dead letter that was sent in a trace; returns the trace."""
    with recorded() as spans, trace.get_tracer("app").start_as_current_span("caller"):
        let_fail(home.url, Fulfil, Order(1, User(1), "how"))
    return f"{spans.one('caller').context.trace_id:032x}"


def queued(home: Home) -> list[bytes]:
    """All requests that are queued."""

    async def look() -> list[bytes]:
        async with await connect(home.url) as queue:
            storage = queue.storage
            return [
                message async for pipe in each(storage.pipes) for message in (await storage.range(pipe, 9)).messages
            ]

    return asyncio.run(look())


@on_each_home
def test_commands_show_traces(home: Home, said: Say) -> None:
    trace_id = in_trace(home)
    let_fail(home.url, Fulfil, Order(2, User(2), "how"))
    traced, plain = sorted(letters_at(home.url), key=lambda its: content_of(its.letter.message)["number"])

    assert f"trace_id:     {trace_id}" in said("dead", "show", traced.id)
    assert "trace_id" not in said("dead", "show", plain.id)
    assert [its["trace_id"] for its in json.loads(said("dead", "list", "--json"))] == [trace_id, None]

    for letter, shown_trace in ((traced, trace_id), (plain, None)):
        pipe = letter.letter.pipe
        said("dead", "requeue", letter.id)
        assert said("peek", pipe).rstrip().endswith(f"  trace_id={shown_trace}" if shown_trace else "}")
        [request] = json.loads(said("peek", pipe, "--json"))
        assert json.loads(said("peek", pipe, "--json", "--traces")) == [{"request": request, "trace_id": shown_trace}]


@on_each_home
def test_edited_requests_stay_in_their_traces(home: Home, said: Say) -> None:
    trace_id = in_trace(home)
    [letter] = letters_at(home.url)

    said("dead", "edit", letter.id, "--set", "number=77")

    [message] = queued(home)
    assert trace_id_of(message) == trace_id
    assert content_of(message)["number"] == 77


@on_each_home
def test_requests_of_a_file_stay_in_their_traces(home: Home, said: Say) -> None:
    trace_id = in_trace(home)

    said("dead", "drop", "--all", "--yes", "--export", "letters.jsonl")
    assert letters_at(home.url) == []
    said("dead", "requeue", "--from", "letters.jsonl", "--yes")

    [message] = queued(home)
    assert trace_id_of(message) == trace_id
