"""`shardq check` on a segment: it says what is wrong, and nothing where nothing is, also beside a family at work."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from shardq import Queue, cli, connect
from shardq.drivers import SharedStorage
from shardq.shm import words as at
from tests.support import jobs
from tests.support.drivers import MIB
from tests.support.jobs import Folder, Note, Record
from tests.support.supervised import Start

#: How often a family at work is looked at.
LOOKS = 10


async def test_a_family_at_work_is_whole(
    url: str, start: Start, folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start(jobs.__name__, "--url", url, "--workers", 2).serving()
    async with await connect(url) as queue:
        for look in range(LOOKS):
            notes = [Note(str(tmp_path), 100 * look + n, n % 5) for n in range(100)]
            await queue.register(Record, *notes)
            assert await asyncio.to_thread(cli.main, ["check", "--url", url]) == cli.OK
            assert capsys.readouterr() == ("nothing is wrong\n", "")
        assert await queue.storage.wait_for_quiet(30.0)
    folder.until("done", *range(100 * LOOKS))


async def test_what_a_dead_worker_left_is_not_wrong(
    url: str, start: Start, folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    family = start(jobs.__name__, "--url", url, "--workers", 1).serving()
    async with await connect(url) as queue:
        await queue.register(jobs.Gated, Note(str(tmp_path), 1), Note(str(tmp_path), 2))
        folder.until("begin", 1)
        family.kill_family()

        assert await asyncio.to_thread(cli.main, ["check", "--url", url]) == cli.OK
    assert capsys.readouterr() == ("nothing is wrong\n", "")


@pytest.fixture
def damaged(name: str) -> str:
    """The URL of a segment in which a request is counted that is not there."""
    storage = SharedStorage.create(name, 4 * MIB)
    assert Queue(storage).register_sync(Record, Note("", 1)) == 1
    storage.store.segment.words[at.ACCEPTED] += 1
    asyncio.run(storage.close())
    return f"shm://{name}"


def test_what_is_wrong_is_printed_and_fails(damaged: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--url", damaged]) == cli.FAILED
    said = capsys.readouterr()
    assert (said.out, said.err) == ("2 accepted, 0 handled, but 1 queued\n", f"shardq: {damaged}: 1 thing wrong\n")


def test_machines_get_a_list(damaged: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--json", "--url", damaged]) == cli.FAILED
    assert json.loads(capsys.readouterr().out) == ["2 accepted, 0 handled, but 1 queued"]
