"""What a handler forks or starts has nothing of its worker: not its signals, not its loop, not its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardq import Handler
from shardq.supervisor.exits import Exit
from tests.support import hosted
from tests.support.hosted import Act, Async, Plain, Returning, told, until_told
from tests.support.segments import files_of
from tests.support.supervised import Start, client

MODULE = hosted.__name__

CHILDREN: list[tuple[type[Handler[Act]], str, object]] = [
    (Plain, "leave a pool by timeout", "left"),
    (Plain, "terminate a process", -15),
    (Plain, "terminate a process from a thread", -15),
    (Plain, "child exits", 0),
    (Plain, "child exits with a code", 3),
    (Plain, "child exits with a text", 1),
    (Plain, "child raises", 1),
    (Plain, "child is interrupted", 7),
    (Plain, "child is hung up", -1),
    (Plain, "child on a terminal exits", 4),
    (Plain, "child runs a loop", 9),
    (Plain, "child is asked for its stack", "0 '' tells no stack"),
    (Returning, "child returns", 0),
    (Async, "child exits in a coroutine", 5),
    (Async, "child waits in the loop", 70),
    (Async, "child exits in a task", 6),
    (Async, "child waits in a task", 70),
]


@pytest.mark.parametrize(("handler", "what", "came"), CHILDREN, ids=[what for _, what, _ in CHILDREN])
def test_a_child_ends_as_that_of_any_program_and_its_worker_goes_on(
    start: Start, url: str, name: str, tmp_path: Path, handler: type[Handler[Act]], what: str, came: object
) -> None:
    program = start(MODULE, "--url", url, "--workers", 1).serving()
    workers = program.workers(1)
    with client(url) as queue:
        queue.register_sync(handler, Act(str(tmp_path), what))
        assert until_told(tmp_path, what) == str(came)
        queue.register_sync(Plain, Act(str(tmp_path), "nothing"))
        until_told(tmp_path, "nothing")

    assert len(told(tmp_path)) == 2
    assert program.workers(1) == workers
    assert program.stop() == Exit.OK
    assert "failed" not in program.heard
    assert files_of(name) == set()


@pytest.mark.parametrize(
    ("handler", "what"),
    [(Plain, "program"), (Plain, "spawned program"), (Plain, "executed program"), (Async, "program of a loop")],
)
def test_a_program_has_default_signals_and_no_descriptors_of_its_worker(
    start: Start, url: str, tmp_path: Path, handler: type[Handler[Act]], what: str
) -> None:
    program = start(MODULE, "--url", url, "--workers", 1).serving()

    with client(url) as queue:
        queue.register_sync(handler, Act(str(tmp_path), what))
        assert until_told(tmp_path, what) == "[] []"

    assert program.stop() == Exit.OK


def test_a_worker_hears_term_after_a_handler_ran_a_loop_that_took_it(start: Start, url: str, tmp_path: Path) -> None:
    program = start(MODULE, "--url", url, "--workers", 1).serving()
    workers = program.workers(1)
    with client(url) as queue:
        for what in ("loop that takes signals", "nothing"):
            queue.register_sync(Plain, Act(str(tmp_path), what))
            until_told(tmp_path, what)

    assert program.workers(1) == workers
    assert program.stop() == Exit.OK
    assert "worker ended" not in program.heard
