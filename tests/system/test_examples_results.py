"""The examples of results, run as their READMEs say, each beside its version on a pool of processes."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from examples.replay import ledger
from examples.replay import samples as streams
from examples.thumbnails import samples as albums
from shardq.supervise import Exit
from tests.support.programs import ROOT, lives, until
from tests.support.tasks import LIMIT_S

EVENTS, ACCOUNTS = 30_000, 40


def ran(*words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        (sys.executable, "-m", *map(str, words)),
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=LIMIT_S * 2,
        check=False,
    )
    assert done.returncode == Exit.OK, done.stderr
    return done


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_thumbnails_equal_those_of_a_pool(tmp_path: Path) -> None:
    pictures, ours, theirs = tmp_path / "pictures", tmp_path / "ours", tmp_path / "theirs"
    albums.make(pictures, albums=3, pictures=12, side=200)
    (pictures / "album-01" / "0005.png").write_bytes(b"no picture")

    shardq = ran("examples.thumbnails", pictures, ours)
    pool = ran("examples.thumbnails.pool", pictures, theirs)

    table, summary = shardq.stdout.splitlines()[:-1], shardq.stdout.splitlines()[-1]
    assert table == pool.stdout.splitlines()[:-1]
    assert table[2].split()[:3] == ["album-01", "12", "1"]
    assert summary.startswith("36 requests in ")
    assert "1 of them failed" in summary
    for done in (shardq, pool):
        [complaint] = [line for line in done.stderr.splitlines() if line.startswith(str(pictures))]
        assert "0005.png: " in complaint
        assert "cannot identify image" in complaint
    assert contents(ours) == contents(theirs)
    index = (ours / "album-01" / "index.txt").read_text().split()
    assert index == [f"{number:04}.jpg" for number in range(12) if number != 5]


def test_a_sweep_equals_that_of_a_pool() -> None:
    shardq, pool = (ran(program, SWEEP_DAYS="300") for program in ("examples.sweep", "examples.sweep.pool"))

    assert len(shardq.stdout.splitlines()) == 7
    assert shardq.stdout.splitlines()[:-1] == pool.stdout.splitlines()[:-1]
    assert re.fullmatch(r"73 requests in .* times as fast as one process", shardq.stdout.splitlines()[-1])
    for done in (shardq, pool):
        assert "100%" in done.stderr
        assert "73/73" in done.stderr


SHARES = """
from examples.sweep.model import grid, made_by
from shardq import Supervisor
from shardq.settings import SupervisorSettings

if __name__ == "__main__":
    settings = SupervisorSettings(preload="examples.sweep.model")
    with Supervisor(settings=settings) as supervisor, supervisor.map_sync(made_by, grid(range(9), range(9))) as results:
        makers, workers = map(set, zip(*results))
    print(len(makers), makers & workers)
"""


def test_the_prices_of_a_sweep_are_made_once_for_all_workers(tmp_path: Path) -> None:
    (tmp_path / "shares.py").write_text(SHARES)
    done = ran("shares", PYTHONPATH=f"{ROOT}:{tmp_path}", SWEEP_DAYS="300")
    assert done.stdout == "1 set()\n"


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    streams.make(path, EVENTS, ACCOUNTS)
    return path


def posted(database: Path) -> int:
    """How many events are in the database, which may not be there yet."""
    try:
        with closing(sqlite3.connect(database)) as connection:
            count: int = connection.execute("SELECT count(*) FROM events").fetchone()[0]
            return count
    except sqlite3.OperationalError:
        return 0


def check_is_complete(database: Path) -> None:
    """Each event once, those of an account in their order, and the balances that these come to."""
    expected, sums = list(streams.events(EVENTS, ACCOUNTS)), Counter[int]()
    for event in expected:
        sums[event.account] += event.amount
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT account, number, amount FROM events ORDER BY account, rowid").fetchall()
        balances = dict(connection.execute("SELECT account, amount FROM balances").fetchall())
    assert rows == sorted(map(tuple, expected))
    assert balances == sums


#: Makes a post take a millisecond, so that who watches comes in time to kill a replay in the middle.
_SLOW = """
CREATE TRIGGER slow AFTER INSERT ON events BEGIN
    WITH RECURSIVE counted(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM counted LIMIT 5000) SELECT max(x) FROM counted;
END
"""


@pytest.fixture
def killed(stream: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The database of a replay of which all processes were killed in the middle."""
    database = stream.with_suffix(".db")
    monkeypatch.setenv(ledger.DATABASE_VARIABLE, str(database))
    with closing(ledger.opened()) as connection:
        connection.execute(_SLOW)
    program = subprocess.Popen(
        (sys.executable, "-m", "examples.replay", stream, database, f"shm://{name}"), cwd=ROOT, text=True
    )
    with program:
        until(lambda: posted(database) > 0, "the first events are posted")
        family = [psutil.Process(program.pid), *psutil.Process(program.pid).children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):  # a worker ends by itself when its supervisor is killed
                process.kill()
        program.wait(LIMIT_S)
        until(lambda: not any(lives(process.pid) for process in family), "the family is dead")
    assert 0 < posted(database) < EVENTS
    with closing(ledger.opened()) as connection:
        connection.execute("DROP TRIGGER slow")
    return database


def test_a_replay_that_was_killed_goes_on_without_loss(killed: Path, stream: Path, name: str) -> None:
    done = ran("examples.replay", stream, killed, f"shm://{name}")
    assert done.stdout.startswith(f"{EVENTS:,} events, ")
    check_is_complete(killed)


def test_a_replay_by_a_pool_comes_to_the_same(stream: Path) -> None:
    database = stream.with_suffix(".db")
    assert ran("examples.replay.pool", stream, database).stdout.startswith(f"{EVENTS:,} events, ")
    check_is_complete(database)
