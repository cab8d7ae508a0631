"""Tracing in workers of a real family, which set up their exporters after the fork and write spans to files."""

from __future__ import annotations

import json
import os
import secrets
import signal
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace

from shardq import Supervisor
from shardq.errors import ConfigurationError, SupervisorError
from shardq.supervisor.exits import Exit
from tests.support import jobs, talking, tracing
from tests.support.homes import Home, SegmentHome, on_each_home
from tests.support.jobs import Folder, Gated
from tests.support.programs import ROOT
from tests.support.segments import files_of
from tests.support.supervised import Start, client
from tests.support.talking import Many, Word
from tests.support.tracing import FOLDER, identity, recorded

TRACING = tracing.__name__
TALKING = f"{talking.__name__}:Many"
INIT = ("--init", f"{TRACING}:set_up")
#: Makes a supervisor execute its workers instead of forking them.
WITH_A_THREAD = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"


def written(folder: Path) -> list[dict[str, Any]]:
    """The spans that workers wrote."""
    return [json.loads(line) for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()]


def numbers(span: dict[str, Any]) -> tuple[int, int]:
    """Trace and span, as `identity` has them."""
    return int(span["context"]["trace_id"], 16), int(span["context"]["span_id"], 16)


@on_each_home
@pytest.mark.parametrize("forked", [True, False], ids=["forked", "executed"])
def test_workers_export_the_spans_of_requests_that_another_process_sent(
    home: Home, start: Start, tmp_path: Path, forked: bool
) -> None:
    module = f"module_{secrets.token_hex(6)}"
    (tmp_path / f"{module}.py").write_text("" if forked else WITH_A_THREAD)
    with recorded() as spans, trace.get_tracer("app").start_as_current_span("caller"):
        home.leave(Many, [Word("one"), Word("two")])
    environment = {FOLDER: str(tmp_path), "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    options = ("--url", home.url, "--workers", 1, "--preload", module, "--drain", "--json")

    program = start(TALKING, *options, *INIT, environment=environment)

    assert program.end() == Exit.OK
    sent = identity(spans.one(f"send {talking.__name__}/Many"))
    [handled] = written(tmp_path)
    assert handled["name"] == f"process {talking.__name__}/Many"
    assert (numbers(handled)[0], int(handled["parent_id"], 16)) == sent
    heard = program.hear_all()
    [line] = [json.loads(line) for line in heard.splitlines() if "many one two" in line]
    assert (int(line["trace_id"], 16), int(line["span_id"], 16)) == numbers(handled)
    if isinstance(home, SegmentHome) or not forked:  # over a server the supervisor executes them where it has to
        assert ("not forked" in heard) is not forked
    assert home.left() == []


def test_lines_name_the_sender_in_workers_without_opentelemetry(home: Home, start: Start) -> None:
    with recorded() as spans, trace.get_tracer("app").start_as_current_span("caller"):
        home.leave(Many, [Word("one"), Word("two")])

    program = start(TALKING, "--url", home.url, "--workers", 1, "--drain", "--json")

    assert program.end() == Exit.OK
    [line] = [json.loads(line) for line in program.hear_all().splitlines() if "many one two" in line]
    sent = identity(spans.one(f"send {talking.__name__}/Many"))
    assert (int(line["trace_id"], 16), int(line["span_id"], 16)) == sent


@on_each_home
def test_a_request_whose_worker_was_killed_stays_in_its_trace(
    home: Home, start: Start, folder: Folder, tmp_path: Path
) -> None:
    spans_at = tmp_path / "spans"
    spans_at.mkdir()
    program = start(
        f"{jobs.__name__}:Gated", "--url", home.url, "--workers", 1, *INIT, environment={FOLDER: str(spans_at)}
    )
    program.serving()
    with client(home.url) as queue:
        with recorded() as spans, trace.get_tracer("app").start_as_current_span("caller"):
            queue.register_sync(Gated, *folder.notes([1]))
        [begun] = folder.until("begin", 1)
        os.kill(begun.pid, signal.SIGKILL)
        folder.until_again(begun)
        folder.permit(1)
        folder.until("done", 1)
    assert program.stop() == Exit.OK

    sent = identity(spans.one(f"send {jobs.__name__}/Gated"))
    [handled] = written(spans_at)
    assert (numbers(handled)[0], int(handled["parent_id"], 16)) == sent
    assert handled["attributes"]["shardq.attempts"] == 1


# What cannot be set up

BROKEN = {
    "no such module": ("no_such_module_here:f", "there is no module no_such_module_here"),
    "no such function": (f"{TRACING}:missing", f"--init {TRACING}:missing: module {TRACING} has no function missing"),
    "not callable": (f"{TRACING}:NOT_CALLABLE", f"--init {TRACING}:NOT_CALLABLE: that is 3, which cannot be called"),
    "asynchronous": (f"{TRACING}:set_up_async", "that is `async def`, and there is no event loop yet"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_function_that_cannot_be_called_ends_the_supervisor(start: Start, url: str, name: str, case: str) -> None:
    init, reason = BROKEN[case]

    program = start(TALKING, "--url", url, "--workers", 1, "--init", init)

    assert program.end() == Exit.BOOT
    assert f"shardq.supervise: {reason}" in program.heard or reason in program.heard
    assert files_of(name) == set()


@on_each_home
def test_a_function_that_raises_ends_the_family_with_its_traceback(home: Home, start: Start) -> None:
    program = start(TALKING, "--url", home.url, "--workers", 2, "--init", f"{TRACING}:raise_at_once")

    assert program.end() == Exit.BOOT
    heard = program.hear_all()
    assert f"--init {TRACING}:raise_at_once raised in a worker, so none can serve: ConnectionError: no c" in heard
    assert "in raise_at_once" in heard
    assert home.left() == []


def test_a_name_of_no_function_is_refused(start: Start, url: str) -> None:
    program = start(TALKING, "--url", url, "--init", "app.telemetry")

    assert program.end() == Exit.USAGE
    assert "give the name of a function, MODULE:FUNCTION" in program.heard


async def test_an_application_names_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    async with Supervisor(Many, workers=1, init=f"{TRACING}:set_up") as supervisor:
        await supervisor.queue.register(Many, Word("one"))
        assert await supervisor.drain()

    assert [span["name"] for span in written(tmp_path)] == [f"process {talking.__name__}/Many"]


async def test_an_application_is_told_what_cannot_be_called() -> None:
    with pytest.raises(SupervisorError, match="has no function missing"):
        await Supervisor(Many, workers=1, init=f"{TRACING}:missing").start()
    with pytest.raises(ConfigurationError, match="give the name of a function"):
        Supervisor(Many, init="setup")
