"""What workers share because they are forks of one process, and what is made anew in each of them."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import msgspec
import pytest

from shardq.supervisor.exits import Exit
from tests.support.hosted import told
from tests.support.programs import ROOT, until
from tests.support.supervised import Start, client

#: In the place of numpy, of which the tests need no more.
NUMPY = """
import random as _random
_one = _random.Random(7)
seed, random = _one.seed, _one.random
"""
MODULE = """
import os, random
import numpy.random
from shardq import Handler
from tests.support.hosted import tell

random.seed(7)
seeded, shared = random.Random(7), random.Random(7)
os.register_at_fork(after_in_child=seeded.seed)


class Draw(Handler[str]):
    def perform(self, *folders: str) -> None:
        for folder in folders:
            drawn = random.random(), numpy.random.random(), seeded.random(), shared.random()
            tell(folder, os.getpid(), " ".join(map(str, drawn)))
"""


@pytest.fixture
def module(tmp_path: Path) -> str:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").touch()
    (tmp_path / "numpy" / "random.py").write_text(NUMPY)
    module = f"drawing_{secrets.token_hex(6)}"
    (tmp_path / f"{module}.py").write_text(MODULE)
    return module


def test_no_two_workers_draw_the_same_from_what_can_be_seeded(
    module: str, start: Start, url: str, tmp_path: Path
) -> None:
    """Each worker handles one request, and the next one is a fork of the same supervisor."""
    options = ("--url", url, "--workers", 1, "--max-requests", 1)
    program = start(module, *options, environment={"PYTHONPATH": f"{tmp_path}:{ROOT}"}).serving()
    with client(url) as queue:
        for number in range(1, 4):
            former = program.workers(1)
            asyncio.run(queue.storage.append([(f"{module}/Draw/0/0", [msgspec.msgpack.encode(str(tmp_path))])]))
            until(lambda: len(told(tmp_path)) == number, "a worker draws")  # noqa: B023
            until(lambda: program.workers(1) != former, "another worker comes")  # noqa: B023

    assert program.stop() == Exit.OK
    pids, drawn = zip(*(line.split("=") for line in told(tmp_path)), strict=True)
    columns = list(zip(*(line.split() for line in drawn), strict=True))
    assert len(set(pids)) == 3
    assert [len(set(column)) for column in columns] == [3, 3, 3, 1], "a generator of a module's own is shared"
