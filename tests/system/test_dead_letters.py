"""`python -m shardq dead ...` and `park`, over what families leave."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from shardq.cli import main
from shardq.supervisor.exits import Exit
from tests.support.crashing import Ask, Fragile, environment
from tests.support.segments import files_of
from tests.support.supervised import Start, client, leave_in_segment, left_in

HANDLER = f"{Fragile.__module__}/Fragile"

WHICH = "which dead letters? give their ids, a handler as MODULE/Handler, --match, or --all"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("dead", "list")` runs the command on the test's segment: in this process, which takes a hundredth of the
    time of a program's start, and is the same code.
    """
    monkeypatch.chdir(tmp_path)

    def runner(*arguments: str) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        try:
            status = main([*arguments, "--url", url])
        except SystemExit as end:  # argparse's way
            status = int(end.code or 0)
        return subprocess.CompletedProcess(arguments, status, *capsys.readouterr())

    return runner


@pytest.fixture
def graveyard(start: Start, url: str, name: str, tmp_path: Path) -> Path:
    """A segment with two dead letters, #0 of request 1 and #1 of request 3, and no worker that serves it."""
    leave_in_segment(name, Fragile, [Ask(0), Ask(1, "raise"), Ask(2), Ask(3, "kill"), Ask(4)])
    program = start(Fragile.__module__, "--url", url, "--workers", 2, "--drain", environment=environment(tmp_path))
    assert program.end() == Exit.DEAD_LETTERS
    return tmp_path


def test_list_shows_each_with_why(graveyard: Path, run: Run) -> None:
    titles, first, second = run("dead", "list").stdout.splitlines()
    assert titles.split() == ["id", "reason", "attempts", "ago", "error"]
    assert first.startswith(f"{HANDLER}#0  raised  2")
    assert first.endswith("KeyError: 'out of luck'")
    assert second.startswith(f"{HANDLER}#1  died    2")
    assert second.endswith("its worker was killed by SIGKILL")


def test_list_as_json_has_everything(graveyard: Path, run: Run) -> None:
    first, second = json.loads(run("dead", "list", "--json").stdout)
    assert first["id"] == f"{HANDLER}#0"
    assert first["request"] == [1, "raise"]
    assert (first["tube"], first["sequence"], first["attempts"]) == (f"{HANDLER}/0/0", 1, 2)
    assert "KeyError" in first["traceback"]
    assert first["first_failed"] < first["last_failed"]
    assert (second["reason"], second["signal"], second["traceback"]) == ("died", "SIGKILL", "")


def test_list_can_be_of_one_handler_and_cut_short(graveyard: Path, run: Run) -> None:
    assert run("dead", "list", "unserved/Else").stdout == "no dead letters of unserved/Else\n"
    lines = run("dead", "list", HANDLER, "--limit", "1").stdout.splitlines()
    assert lines[2:] == ["and 1 more", f"the next ones: --after {HANDLER}#0"]


def test_show_shows_the_traceback(graveyard: Path, run: Run) -> None:
    shown = run("dead", "show", f"{HANDLER}#0").stdout
    assert 'request:      [1,"raise"]\n' in shown
    assert shown.rstrip().endswith("KeyError: 'out of luck'")
    assert "Traceback (most recent call last):" in shown


def test_requeue_puts_back_behind_or_ahead(graveyard: Path, run: Run, url: str) -> None:
    with client(url) as queue:
        queue.register_sync(Fragile, Ask(9))
    assert run("dead", "requeue", f"{HANDLER}#0").stdout == "1 requeued\n"
    assert run("dead", "requeue", f"{HANDLER}#1", "--head", "--json").stdout == '{"requeued":1}\n'
    assert run("dead", "list").stdout == "no dead letters\n"
    tubes = {tube["pipe"]: tube["queued"] for tube in json.loads(run("tubes", "--json").stdout)}
    assert tubes == {f"{HANDLER}/0/0": 3}
    assert left_in(url) == 3


def test_drop_forgets_one_a_handlers_or_all(graveyard: Path, run: Run, name: str) -> None:
    assert run("dead", "drop", f"{HANDLER}#0").stdout.startswith("1 dropped, and written to /")
    assert run("dead", "drop", HANDLER, "--yes").stdout.startswith("1 dropped, and written to /")
    assert run("dead", "drop", "--all").stdout == "0 dropped\n"
    assert run("destroy").returncode == 0
    assert files_of(name) == set()


def test_destroy_refuses_while_there_are_dead_letters(graveyard: Path, run: Run, name: str) -> None:
    refused = run("destroy")
    assert refused.returncode == 1
    assert "has 2 dead letters left: add --with-requests to lose them" in refused.stderr
    assert run("destroy", "--with-requests").returncode == 0
    assert files_of(name) == set()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("dead", "show", f"{HANDLER}#7"), f"there is no dead letter {HANDLER}#7: `dead list` shows what there is"),
        (("dead", "show", HANDLER), f"'{HANDLER}' is no id of one dead letter: `dead list` shows the ids"),
        (("dead", "drop"), WHICH),
        (("dead", "drop", HANDLER, "--all"), WHICH),
        (("dead", "requeue", "unserved/Else"), "there is no dead letter unserved/Else"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: tuple[str, ...], reason: str, graveyard: Path, run: Run) -> None:
    refused = run(*arguments)
    assert refused.returncode == 1
    assert reason in refused.stderr
    assert len(json.loads(run("dead", "list", "--json").stdout)) == 2


def test_status_counts_them(graveyard: Path, run: Run) -> None:
    assert "dead:     2 dead letters; 2 requests failed for good so far\n" in run("status", "--sample", "0").stdout
    status = json.loads(run("status", "--sample", "0", "--json").stdout)
    assert (status["dead"], status["buried"], status["queued"]) == (2, 2, 0)


def test_what_no_worker_serves_is_shown_and_can_be_parked(
    start: Start, run: Run, url: str, name: str, tmp_path: Path
) -> None:
    leave_in_segment(name, Fragile, [Ask(0)])
    with client(url) as queue:
        assert asyncio.run(queue.storage.append([("unserved/Serves/0/0", [b"\x91\x01", b"\x91\x02"])]))
    program = start(Fragile.__module__, "--url", url, "--workers", 1, "--drain", environment=environment(tmp_path))
    assert program.end() == Exit.UNSERVED
    program.hear("this supervisor has no handler for what is left, or it is paused tubes=unserved/Serves/0/0")
    tube, queued, *_, worker = run("tubes").stdout.splitlines()[1].split()
    assert (tube, queued, worker) == ("unserved/Serves/0/0", "2", "unserved")

    assert run("park", "unserved/Serves/0/0").stdout == "2 parked\n"

    letters = json.loads(run("dead", "list", "--json").stdout)
    assert [(letter["request"], letter["reason"]) for letter in letters] == [([1], "parked"), ([2], "parked")]
    assert left_in(url) == 0


def test_what_is_being_served_cannot_be_parked(run: Run, url: str, name: str) -> None:
    leave_in_segment(name, Fragile, [Ask(0)])
    with client(url) as queue:
        token = asyncio.run(queue.storage.claim(f"{HANDLER}/0"))
        assert token
        refused = run("park", f"{HANDLER}/0/0")
    assert refused.returncode == 1
    assert "now: `park` takes only a tube that no worker serves" in refused.stderr
    assert left_in(url) == 1
