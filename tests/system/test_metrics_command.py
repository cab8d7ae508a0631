"""`shardq metrics`: printed once, or kept in a file that is never half written."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardq.cli import main
from tests.support.homes import Home, on_each_home
from tests.support.jobs import Note, Record
from tests.support.metrics import Samples, parsed, total


@pytest.fixture
def filled(home: Home, tmp_path: Path) -> Iterator[str]:
    home.leave(Record, [Note(str(tmp_path), number) for number in range(3)])
    yield home.url
    assert home.wrong() == []


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> Samples:
    assert main(["metrics", *words]) == 0
    return parsed(capsys.readouterr().out)


@on_each_home
def test_the_totals_of_every_storage_are_printed(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "--url", filled)
    assert total(found, "shardq_requests_accepted_total") == total(found, "shardq_queued_requests") == 3
    assert total(found, "shardq_dead_letters") == 0
    assert found["shardq_supervisor_up",] == 0
    assert found["shardq_workers", "busy"] == 0


@on_each_home
def test_a_paused_handler_of_every_storage_is_named(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pause", "--url", filled, "tests.support.jobs/Record"]) == 0
    capsys.readouterr()
    assert printed(capsys, "--url", filled)["shardq_handler_paused", "tests.support.jobs/Record"] == 1


@on_each_home
def test_a_file_has_all_of_it_at_any_moment(filled: str, tmp_path: Path) -> None:
    path, ended, seen = tmp_path / "shardq.prom", threading.Event(), set[int]()
    assert main(["metrics", "--url", filled, "--output", str(path)]) == 0
    whole = len(path.read_text().splitlines())

    def reads() -> None:
        while not ended.is_set():
            seen.add(len(path.read_text().splitlines()))

    reader = threading.Thread(target=reads)
    reader.start()
    for _ in range(20):
        assert main(["metrics", "--url", filled, "--output", str(path)]) == 0
    ended.set()
    reader.join()

    assert seen == {whole}
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def test_what_a_killed_command_left_is_in_no_other_ones_way(filled: str, tmp_path: Path) -> None:
    """In a container each of them has the same pid."""
    path = tmp_path / "shardq.prom"
    (tmp_path / f"shardq.prom.{os.getpid()}.new").touch()
    assert main(["metrics", "--url", filled, "--output", str(path)]) == 0
    assert path.read_text()


@on_each_home
def test_a_file_that_cannot_be_written_stays_as_it_was(
    filled: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    assert main(["metrics", "--url", filled, "--output", str(path)]) == 1
    assert "is not written" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]

    # A device, as /dev/null would be, goes to all its readers and is not replaced by a file.
    os.mkfifo(pipe := tmp_path / "pipe")
    assert main(["metrics", "--url", filled, "--output", str(pipe)]) == 1
    assert "pipe is not written: it is no file, and one would take its place" in capsys.readouterr().err
    assert pipe.is_fifo()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
