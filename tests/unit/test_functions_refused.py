"""Functions that workers cannot call, and items that would not arrive: refused before anything is sent."""

from __future__ import annotations

import sys
from os import environ
from pathlib import Path
from typing import Any

import pytest

from shardq import Queue
from shardq.drivers import RuntimeStorage
from shardq.errors import HandlerError, RequestError
from shardq.functions.mapping import FunctionMapping
from shardq.functions.named import named
from shardq.results.mapping import Options
from shardq.results.results import Results
from tests.support import functions
from tests.support.answering import Twice
from tests.support.programs import ROOT
from tests.support.python import run

MODULE = functions.__name__


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (functions.unnamed, f"a lambda of {MODULE} has no name"),
        (functions.nested(), "nested.<locals>.inner is defined inside a function"),
        (functions.machine.run, "Machine.run is not what module .* as is a method of an instance"),
        (functions.add_one, r"partial\(.* has no name"),
        (functions.numbers, "numbers has a `yield`"),
        (functions.two, r"two is called with one item, and cannot be \(missing a required argument: 'other'\)"),
        (functions.none, r"none is called with one item, and cannot be \(too many positional arguments\)"),
        (functions.opaque, "opaque takes what no message can hold"),
        (functions.unresolved, "the type of what .*unresolved takes is not known"),
        (Twice, r"queue\.map\(Twice, requests\)"),
        (5, "5 has no name"),
    ],
)
def test_a_function_that_workers_cannot_call_is_refused(function: Any, said: str) -> None:
    with pytest.raises(HandlerError, match=said):
        named(function)


@pytest.mark.parametrize(
    ("function", "item"), [(functions.double, "text"), (functions.double, 1.5), (functions.plain, (1, 2))]
)
async def test_an_item_that_would_not_arrive_is_refused(function: Any, item: Any) -> None:
    queue = Queue(RuntimeStorage())
    mapping = FunctionMapping(queue, "key", function, [item], Options(None, True, False, None, True))
    async with Results[Any](mapping) as results:
        with pytest.raises(RequestError, match=f"an item for {MODULE}:{function.__name__} cannot be sent"):
            await anext(aiter(results))
    assert await queue.storage.pipes() == []


def test_a_function_of_an_interactive_session_is_refused() -> None:
    code = "from shardq.functions.named import named\ndef here(x): pass\nnamed(here)"
    done = run((sys.executable, "-c", code), cwd=ROOT, capture_output=True, text=True)
    assert "here is defined in an interactive session or an archive, which workers cannot import" in done.stderr


def test_a_function_of_a_folder_that_was_started_goes_by_the_path_of_its_script(tmp_path: Path) -> None:
    script, path = tmp_path / "__main__.py", environ | {"PYTHONPATH": str(ROOT)}
    script.write_text("from shardq.functions.named import named\ndef here(x): pass\nprint(named(here).name)")
    done = run((sys.executable, str(tmp_path)), cwd=ROOT, env=path, capture_output=True, text=True)
    assert done.stdout == f"{script}:here\n"
