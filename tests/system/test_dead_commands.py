"""`shardq dead ...` on real storages: filters, many letters at once, files of letters, editing, replaying."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shardq import connect
from shardq.cli import FAILED, INTERRUPTED, OK, main
from shardq.drivers import SharedStorage
from shardq.errors import StorageUnavailable
from shardq.handling.route_by import RouteBy
from shardq.letters import chosen, exported
from shardq.model import INBOX, KEPT_PIPE
from tests.support import letters
from tests.support.drivers import MIB
from tests.support.homes import Home, on_each_home
from tests.support.ids import text_of
from tests.support.letters import Charge, Fulfil, Order, User, let_fail, letters_at, name_of
from tests.support.programs import ROOT
from tests.support.said import Said, Say
from tests.support.tasks import LIMIT_S

APP = letters.__name__
FULFIL = name_of(Fulfil)
#: What an application does with standard output when it is imported.
PRINTS = """
import io, sys
sys.stdout.reconfigure(line_buffering=True)
sys.stdout.fileno(), sys.stdout.buffer.write(b"made\\n")
sys.stdout = io.TextIOWrapper(sys.stdout.detach())
print("ready", flush=True)
"""
ORDERS = [
    Order(1, User(5, "Ann"), "timed out"),
    Order(2, User(6, "Bob"), "key"),
    Order(3, User(5, "Ann"), "Timed Out again", due=datetime(2026, 1, 2, tzinfo=UTC)),
]


@pytest.fixture
def said(home: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """`said("list")` is `shardq dead list` on the test's storage."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Said:
        capsys.readouterr()
        status = main(["dead", *map(str, words), "--url", home.url])
        return Said(status, *capsys.readouterr())

    return run


@pytest.fixture(autouse=True)
def _room(home: Home) -> None:
    if home.url.startswith("shm://"):
        SharedStorage.create(home.name, 64 * MIB).detach()


@pytest.fixture
def orders(home: Home) -> list[str]:
    """Three dead letters, in their order; returns their ids."""
    let_fail(home.url, Fulfil, *ORDERS)
    by_number = {its.letter.message: its.id for its in letters_at(home.url)}
    assert len(by_number) == 3
    return [its.id for its in letters_at(home.url)]


class Asking:
    """The command at a terminal, which has asked its question."""

    def __init__(self, *words: object, url: str, cwd: Path) -> None:
        self._mine, theirs = pty.openpty()
        self._program = subprocess.Popen(
            (sys.executable, "-m", "shardq", "dead", *map(str, words), "--url", url),
            cwd=cwd,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
        )
        os.close(theirs)
        self.question = ""
        while "[y/N]" not in self.question:
            self.question += os.read(self._mine, 4096).decode()

    def answer(self, text: str) -> int:
        """Answer the question, and return the exit code."""
        os.write(self._mine, f"{text}\n".encode())
        status = self._program.wait(LIMIT_S)
        os.close(self._mine)
        return status


def numbers(listed: Any) -> list[int]:
    return sorted(letter["request"]["number"] for letter in listed)


def in_tubes(url: str) -> list[bytes]:
    """The messages of all orders that are queued, by their tubes."""

    async def look() -> list[bytes]:
        async with await connect(url) as queue:
            found = [await queue.storage.range(f"{FULFIL}/{thread}/0", 9) for thread in range(4)]
            return [message for batch in found for message in batch.messages]

    return asyncio.run(look())


# Which letters


@on_each_home
@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (["type=KeyError"], [2]),
        (["type=ValueError", "user.id=5"], [1, 3]),
        (["error~TIMED OUT"], [1, 3]),
        (["error~timed out", "number=3"], [3]),
        (["user.name~nn", "how~again"], [3]),
        (["older=1h"], []),
        (["newer=1h"], [1, 2, 3]),
        (["due=2026-01-02T00:00:00Z"], [3]),
        (["no.such.field=1"], []),
    ],
    ids=text_of,
)
def test_filters_choose(filters: list[str], found: list[int], home: Home, orders: list[str], said: Say) -> None:
    words = [word for each in filters for word in ("--match", each)]
    assert numbers(said("list", *words, "--json").value) == found
    assert said("requeue", *words, "--yes", "--json").value == {"requeued": len(found)}
    assert numbers(said("list", "--json").value) == sorted({1, 2, 3} - set(found))


@on_each_home
def test_pages_follow_one_another(home: Home, orders: list[str], said: Say) -> None:
    let_fail(home.url, Charge, letters.Card(holder="Ann", digits="4711"))
    whole = [letter["id"] for letter in said("list", "--json").value]
    assert len(whole) == 4
    pages, last = list[str](), ""
    while page := said("list", "--limit", 1, "--json", *(["--after", last] if last else [])).value:
        pages.append(last := page[0]["id"])
    assert pages == whole

    assert said("list", "--limit", 2).out.splitlines()[-2:] == ["and 2 more", f"the next ones: --after {whole[1]}"]
    matched = said("list", FULFIL, "--match", "type=ValueError", "--limit", 1).out.splitlines()
    assert matched[-2] == "and 1 more"


@pytest.mark.parametrize("wrong", ["", "number", "=5", "older=5", "newer=soon", "."])
@pytest.mark.parametrize("verb", ["list", "requeue", "drop"])
def test_what_is_no_filter_is_refused(verb: str, wrong: str, home: Home, orders: list[str], said: Say) -> None:
    refused = said(verb, "--match", wrong)
    assert refused.status == FAILED
    assert "is no filter: write FIELD=VALUE" in refused.errors or "says no age: write it as" in refused.errors
    assert len(letters_at(home.url)) == 3


# Asking first


@pytest.mark.parametrize("verb", ["requeue", "drop"])
def test_without_a_terminal_nothing_is_done_unless_told_yes(
    verb: str, home: Home, orders: list[str], said: Say, tmp_path: Path
) -> None:
    for words in (["--all"], [FULFIL], ["--match", "newer=1h"]):
        refused = said(verb, *words)
        assert refused.status == FAILED
        assert "3 dead letters would be " in refused.errors
        assert "there is no terminal to ask at: add --yes; nothing is changed" in refused.errors
    assert len(letters_at(home.url)) == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("answer", "left"), [("y", 0), ("YES", 0), ("n", 3), ("", 3)])
def test_a_terminal_is_asked(answer: str, left: int, home: Home, orders: list[str], tmp_path: Path) -> None:
    command = Asking("drop", "--all", url=home.url, cwd=tmp_path)
    assert "3 dead letters would be dropped. Go on? [y/N]" in command.question
    assert len(letters_at(home.url)) == 3
    assert command.answer(answer) == (FAILED if left else OK)
    assert len(letters_at(home.url)) == left


def test_only_what_was_counted_is_hit(home: Home, orders: list[str], said: Say, tmp_path: Path) -> None:
    """A letter that comes while the operator reads the question stays."""
    command = Asking("drop", "--match", "newer=1h", url=home.url, cwd=tmp_path)
    let_fail(home.url, Fulfil, Order(9, User(5), "late"))
    assert command.answer("y") == OK
    assert numbers(said("list", "--json").value) == [9]


# Files of letters


@on_each_home
def test_what_is_dropped_is_in_a_file_and_comes_back_from_it(
    home: Home, orders: list[str], said: Say, tmp_path: Path
) -> None:
    before = {its.id: its.letter for its in letters_at(home.url)}
    file = tmp_path / "dropped.jsonl"

    assert said("drop", "--all", "--yes", "--export", file, "--json").value == {"dropped": 3, "export": str(file)}

    assert file.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {line["id"]: line["letter"]["error"] for line in lines} == {id_: its.error for id_, its in before.items()}
    assert letters_at(home.url) == []
    assert said("requeue", "--from", file, "--match", "user.id=6", "--yes", "--json").value == {"requeued": 1}
    assert said("requeue", "--from", file, "--match", "user.id=5", "--yes", "--json").value == {"requeued": 2}
    assert sorted(in_tubes(home.url)) == sorted(its.message for its in before.values())


@on_each_home
def test_what_a_drop_wrote_and_left_is_put_back_once(home: Home, orders: list[str], said: Say, tmp_path: Path) -> None:
    file, before = tmp_path / "dropped.jsonl", letters_at(home.url)
    file.write_bytes(exported.lines(before))  # a drop is cut off
    assert said("drop", before[0].id).status == OK

    assert said("requeue", "--from", file, "--yes", "--json").value == {"requeued": 3}

    assert letters_at(home.url) == []
    assert sorted(in_tubes(home.url)) == sorted(its.letter.message for its in before)


def test_a_file_that_is_there_is_not_written_over(home: Home, orders: list[str], said: Say, tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_text("mine")
    refused = said("drop", "--all", "--yes", "--export", file)
    assert refused.status == FAILED
    assert f"{file} exists already: give --export with the name of a new file" in refused.errors
    assert (file.read_text(), len(letters_at(home.url))) == ("mine", 3)


def test_where_no_file_can_be_written_nothing_is_dropped(
    home: Home, orders: list[str], said: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = said("drop", "--all", "--yes", "--export", "/proc/none")
    assert refused.status == FAILED
    assert "/proc/none cannot be written" in refused.errors
    removed = tmp_path / "release"
    removed.mkdir()
    monkeypatch.chdir(removed)
    removed.rmdir()
    assert said("show", orders[0], "--app", APP).status == OK
    refused = said("drop", "--all", "--yes")
    assert refused.status == FAILED
    assert "the working directory is gone: give --export with the whole name of a new file" in refused.errors
    assert len(letters_at(home.url)) == 3


def test_without_a_name_the_file_lies_where_the_command_runs(
    home: Home, orders: list[str], said: Say, tmp_path: Path
) -> None:
    done = said("drop", orders[0])
    [file] = tmp_path.iterdir()
    assert done.out == f"1 dropped, and written to {file} before\n"


@pytest.mark.parametrize("text", ["{}", "no json", '{"id": 1, "letter": {}}'])
def test_a_file_that_has_no_letters_is_named(text: str, home: Home, said: Say, tmp_path: Path) -> None:
    (tmp_path / "other").write_text(text)
    refused = said("requeue", "--from", "other", "--yes")
    assert refused.status == FAILED
    assert "line 1 of other is no dead letter as `dead drop` writes them" in refused.errors
    assert "none cannot be read" in said("requeue", "--from", "none", "--yes").errors


@pytest.mark.parametrize("pipe", [f"{FULFIL}/dead/0", KEPT_PIPE, f"{INBOX}/5/0"])
def test_a_file_puts_nothing_where_no_requests_belong(
    pipe: str, home: Home, orders: list[str], said: Say, tmp_path: Path
) -> None:
    file = tmp_path / "dropped.jsonl"
    said("drop", "--all", "--yes", "--export", file)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[1]["letter"]["pipe"] = pipe
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    refused = said("requeue", "--from", file, "--yes")
    assert refused.status == FAILED
    assert f"line 2 of {file} names '{pipe}', which holds no requests of a handler" in refused.errors
    assert in_tubes(home.url) == letters_at(home.url) == []


@pytest.mark.parametrize("verb", ["requeue", "drop"])
def test_an_empty_id_is_no_letter(verb: str, home: Home, orders: list[str], said: Say) -> None:
    refused = said(verb, "", "--yes")
    assert refused.status == FAILED
    assert "there is no dead letter ''" in refused.errors
    assert len(letters_at(home.url)) == 3


def test_many_are_acted_upon_in_steps(home: Home, said: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    steps = list[int]()
    drop = SharedStorage.drop

    async def counted(storage: SharedStorage, grave: str, *sequences: int) -> int:
        steps.append(len(sequences))
        return await drop(storage, grave, *sequences)

    monkeypatch.setattr(SharedStorage, "drop", counted)
    let_fail(home.url, Fulfil, *(Order(number, User(number), "broken") for number in range(600)))

    assert said("drop", FULFIL, "--yes", "--export", tmp_path / "all", "--json").value["dropped"] == 600
    assert steps == [chosen.AT_ONCE, chosen.AT_ONCE, 600 - 2 * chosen.AT_ONCE]
    assert len((tmp_path / "all").read_bytes().splitlines()) == 600


@pytest.mark.parametrize(
    ("verb", "cuts", "at", "done"),
    [
        ("drop", StorageUnavailable("gone"), 2, "1 were dropped, and written to {file}, before that\n"),
        ("drop", None, 1, "1 were dropped, and written to {file}, before that\n"),
        ("requeue", None, 1, "1 were put back before that\n"),
    ],
    ids=["a server that goes", "Ctrl-C", "Ctrl-C while requests are put back"],
)
def test_what_is_cut_off_says_what_was_done(
    verb: str,
    cuts: Exception | None,
    at: int,
    done: str,
    home: Home,
    orders: list[str],
    said: Say,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(chosen, "AT_ONCE", 1)
    monkeypatch.setattr(SharedStorage, verb, cutting(getattr(SharedStorage, verb), at, cuts))
    file = tmp_path / "dropped"
    status, _, errors = said(verb, "--all", "--yes", *(["--export", file] if verb == "drop" else []))
    assert status == (FAILED if cuts else INTERRUPTED)
    assert done.format(file=file) in errors
    assert len(letters_at(home.url)) == 2


def test_ctrl_c_ends_what_parks_requests_and_what_ends_schedules(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fill() -> None:
        async with await connect(home.url) as queue:
            await queue.register(Fulfil, ORDERS[0], ORDERS[0])
            await queue.register(Fulfil, *ORDERS[:2], recurrent=3600)

    asyncio.run(fill())
    monkeypatch.setattr(SharedStorage, "bury", cutting(SharedStorage.bury, 1))
    assert main(["park", f"{FULFIL}/1/0", "--url", home.url]) == INTERRUPTED
    assert "interrupted; 1 were parked before that\n" in capsys.readouterr().err
    assert len(in_tubes(home.url)) == 1

    monkeypatch.setattr(SharedStorage, "unschedule", cutting(SharedStorage.unschedule, 1))
    assert main(["recurrent", "cancel", "--all", "--url", home.url]) == INTERRUPTED
    assert "interrupted; 1 were ended before that\n" in capsys.readouterr().err


def cutting(act: Any, at: int, error: Exception | None = None) -> Any:
    """The method, whose call of this number raises the error, or meets Ctrl-C where there is none."""
    calls = count(1)

    async def acts(*words: Any, **options: Any) -> Any:
        if next(calls) == at:
            if error:
                raise error
            signal.raise_signal(signal.SIGINT)
        return await act(*words, **options)

    return acts


# Editing


def edited(message: bytes) -> Order:
    return msgspec.msgpack.decode(message, type=Order)


@on_each_home
def test_a_field_is_set_and_the_request_put_back(home: Home, orders: list[str], said: Say) -> None:
    [third] = said("list", "--match", "number=3", "--json").value
    done = said("edit", third["id"], "--set", "how=", "--set", "user.id=7", "--set", "price=2", "--json").value
    assert done == {"requeued": 1, "tube": third["tube"]}
    [message] = in_tubes(home.url)
    assert edited(message) == Order(3, User(7, "Ann"), "", due=ORDERS[2].due, price=2.0)
    assert numbers(said("list", "--json").value) == [1, 2]


@on_each_home
def test_with_the_application_it_goes_where_it_belongs(home: Home, orders: list[str], said: Say) -> None:
    [first] = said("list", "--match", "number=1", "--json").value
    done = said("edit", first["id"], "--app", APP, "--set", "number=1000", "--json").value
    routed = Fulfil.route(Order(1000, User(1)))[0]
    assert done["tube"] == f"{FULFIL}/{routed.thread}/0"
    assert [edited(message).number for message in in_tubes(home.url)] == [1000]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--set", "number=many"], "number was a whole number and cannot become text: give --app MODULE"),
        (["--set", "user=5"], "user was an object and cannot become a whole number"),
        (["--set", "data=no base64!"], "data cannot become 'no base64!'"),
        (["--set", "due.x=1"], "the request has no field 'due.x'"),
        (["--set", "colour=red"], "the request has no field 'colour'"),
        (["--set", "colour"], "'colour' sets nothing: write FIELD=VALUE"),
        (["--app", APP, "--set", "number=many"], "do not all decode as"),
        (["--app", APP, "--set", "colour=red"], "have no field 'colour'"),
        (["--app", "tests.support.jobs", "--set", "number=1"], f"tests.support.jobs has no handler {FULFIL}, only"),
    ],
    ids=text_of,
)
def test_what_would_be_no_request_is_refused(
    words: list[str], reason: str, home: Home, orders: list[str], said: Say
) -> None:
    refused = said("edit", orders[0], *words)
    assert refused.status == FAILED
    assert reason in refused.errors
    assert len(letters_at(home.url)) == 3
    assert in_tubes(home.url) == []


@on_each_home
def test_fields_of_a_named_tuple_go_by_their_names(home: Home, said: Say) -> None:
    let_fail(home.url, letters.SignIn, letters.Login("Ann", "hunter2", 4711, {"serial": 1}))
    [letter] = said("list", "--json").value
    refused = said("edit", letter["id"], "--set", "user=Bob")
    assert "give a position from 0 to 3, or --app MODULE, which knows the names" in refused.errors
    refused = said("edit", letter["id"], "--app", APP, "--set", "colour=red")
    assert "there is no field 'colour', only user, password, pin, device" in refused.errors

    changed = "--set", "user=Bob", "--set", "device.serial=2"
    assert said("edit", letter["id"], "--app", APP, *changed).status == OK
    [message] = asyncio.run(_messages(home.url, f"{name_of(letters.SignIn)}/0/0"))
    assert msgspec.msgpack.decode(message) == ["Bob", "hunter2", 4711, {"serial": 2}]


def test_an_editor_gets_json(home: Home, orders: list[str], said: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    [second] = said("list", "--match", "number=2", "--json").value
    monkeypatch.delenv("VISUAL", raising=False)
    # Ctrl-C is a key of editors, and the terminal sends it to the command as well.
    monkeypatch.setenv("EDITOR", """sh -c 'kill -INT $PPID; sed -i s/key/lock/ "$0"'""")
    assert said("edit", second["id"]).out == f"1 requeued to {second['tube']}\n"
    [message] = in_tubes(home.url)
    assert edited(message) == Order(2, User(6, "Bob"), "lock")


@pytest.mark.parametrize(
    ("editor", "said_of_it"),
    [
        ("true", ""),
        ("false", "the editor 'false' ended with 1"),
        ("sed -i 1d", "what was edited is no JSON"),
        ("rm", "what was edited is no JSON"),
        ("no-such-editor", "the editor 'no-such-editor' cannot be run"),
        ("sed -i 's/: 1,/: 99999999999999999999999,/'", "cannot be stored"),
        (r"sed -i 's/timed/\\ud800/'", "cannot be stored"),
        ("", "which editor? set EDITOR, or give --set FIELD=VALUE"),
        ("vi '", "cannot be run: No closing quotation"),
    ],
)
def test_an_editor_that_changes_nothing_leaves_the_letter(
    editor: str,
    said_of_it: str,
    home: Home,
    orders: list[str],
    said: Say,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", editor)
    done = said("edit", orders[0])
    assert said_of_it in done.errors
    assert done.out == ("" if said_of_it else "nothing was changed: the dead letter stays\n")
    assert len(letters_at(home.url)) == 3
    kept = list(tmp_path.iterdir())
    assert len(kept) == editor.startswith("sed")
    assert all(f"what you wrote is in {path}" in done.errors for path in kept)


def test_what_was_written_is_kept_where_the_route_of_the_application_fails(
    home: Home, orders: list[str], said: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(by: RouteBy, orders: Sequence[Order]) -> Any:
        raise KeyError(orders[0].number)

    monkeypatch.setattr(RouteBy, "places", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("VISUAL", "sed -i s/timed/Timed/")
    refused = said("edit", orders[0], "--app", APP)
    assert refused.status == FAILED
    [path] = tmp_path.iterdir()
    assert f"route of {FULFIL} raised KeyError: 1; nothing is changed; what you wrote is in {path}" in refused.errors


def test_hidden_secrets_stay_as_they_are(home: Home, said: Say) -> None:
    let_fail(home.url, Charge, letters.Card(holder="Ann", digits="4711", codes=[b"12"]))
    [letter] = said("list", "--json").value
    assert letter["request"] == {"codes": ["***"], "digits": "***", "holder": "Ann", "next": None}
    refused = said("edit", letter["id"], "--app", APP, "--set", 'codes=["***","***"]')
    assert "codes.1 has a secret that is hidden: edit it with --reveal" in refused.errors

    assert said("edit", letter["id"], "--app", APP, "--set", "holder=Bob").status == OK

    batch = asyncio.run(_read(home.url, f"{name_of(Charge)}/0/0"))
    assert json.loads(json.dumps(batch)) == {"codes": ["12"], "digits": "4711", "holder": "Bob", "next": None}


async def _messages(url: str, pipe: str) -> Sequence[bytes]:
    async with await connect(url) as queue:
        return (await queue.storage.range(pipe, 9)).messages


async def _read(url: str, pipe: str) -> Any:
    [message] = await _messages(url, pipe)
    return msgspec.to_builtins(msgspec.msgpack.decode(message), builtin_types=(bytes,), str_keys=True) | {
        "codes": [code.decode() for code in msgspec.msgpack.decode(message)["codes"]]
    }


# Replaying


@on_each_home
def test_a_replay_shows_how_it_fails_and_takes_nothing(
    home: Home, orders: list[str], said: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    [second] = said("list", "--match", "number=2", "--json").value
    failed = said("replay", second["id"], "--app", APP)
    assert failed.status == FAILED
    assert failed.out.rstrip().endswith("KeyError: 2")
    assert "raise KeyError(order.number)" in failed.out
    assert failed.errors == f"shardq: {second['id']} fails again\n"
    as_json = said("replay", second["id"], "--app", APP, "--json")
    assert (json.loads(as_json.out)["outcome"], json.loads(as_json.out)["error"]) == ("raised", "KeyError: 2")

    def cancel(self: Fulfil, *orders: Order) -> Any:
        raise asyncio.CancelledError("odd")  # which a worker takes for a failure, too

    monkeypatch.setattr(Fulfil, "perform", cancel)
    as_json = said("replay", second["id"], "--app", APP, "--json")
    assert json.loads(as_json.out)["error"] == "asyncio.exceptions.CancelledError: odd"
    assert as_json.errors == failed.errors
    assert len(letters_at(home.url)) == 3


def test_a_replay_shows_what_was_returned_and_would_be_sent(
    home: Home, orders: list[str], said: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fulfil, "perform", lambda self, order: self.emit_sync(letters.Notify, order.user) or ["done"])
    found = said("replay", orders[0], "--app", APP, "--json").value
    notify = f"{name_of(letters.Notify)}/0/0"
    [order] = [its for its in ORDERS if its.number == said("show", orders[0], "--json").value["request"]["number"]]
    assert found == {
        "id": orders[0],
        "outcome": "returned",
        "returned": ["done"],
        "sent": [{"tube": notify, "request": {"id": order.user.id, "name": order.user.name}}],
    }
    text = said("replay", orders[0], "--app", APP).out.splitlines()
    assert text[1] == 'returned: ["done"]'
    assert text[2].startswith(f"would send to {notify}: ")
    assert in_tubes(home.url) == []


def test_a_replay_can_be_looked_at_in_the_debugger(home: Home, orders: list[str]) -> None:
    [second] = [its.id for its in letters_at(home.url) if "KeyError" in its.letter.error]
    done = subprocess.run(
        [sys.executable, "-m", "shardq", "dead", "replay", second, "--app", APP, "--pdb", "--url", home.url],
        cwd=ROOT,
        input="p order.user\nq\n",
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == FAILED
    assert "(Pdb) User(id=6, name='Bob')" in done.stdout


def test_a_test_reproduces_it(home: Home, orders: list[str], said: Say, tmp_path: Path) -> None:
    [second] = said("list", "--match", "number=2", "--json").value
    written = tmp_path / "test_written.py"
    written.write_text(said("test", second["id"], "--app", APP).out)
    assert said("test", second["id"], "--app", APP, "--json").value == {"test": written.read_text()}
    (tmp_path / "talks.py").write_text(f"from {APP} import Fulfil\n{PRINTS}")
    assert said("test", second["id"], "--app", "talks") == (OK, written.read_text(), "  made\n  ready\n")

    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", written],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )

    assert ran.returncode == 1
    assert "KeyError: 2" in ran.stdout
    assert "1 failed" in ran.stdout


def test_a_test_has_no_secrets_unless_told(home: Home, said: Say) -> None:
    let_fail(home.url, Charge, letters.Card(holder="Ann", digits="47114711"))
    [letter] = letters_at(home.url)
    hidden, shown = (said("test", letter.id, "--app", APP, *words).out for words in ([], ["--reveal"]))
    assert "47114711" not in hidden
    assert b"47114711".hex() not in hidden
    assert b"47114711".hex() in shown
    assert "--reveal" in hidden


def test_a_test_without_secrets_has_a_request_of_the_handler(
    home: Home, said: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else runs: what an error says, a sender of requests may have chosen."""

    def fail(self: letters.SignIn, *logins: letters.Login) -> None:
        raise ValueError("MESSAGE = no user signs in")

    monkeypatch.setattr(letters.SignIn, "perform", fail)
    let_fail(home.url, letters.SignIn, letters.Login("Ann", "hunter2", 4711))
    [letter] = letters_at(home.url)
    source, found = said("test", letter.id, "--app", APP).out, dict[str, Any]()
    exec(source, found)
    assert b"hunter2" not in found["MESSAGE"]
    assert "# ValueError: MESSAGE = no user signs in\n" in source
    with pytest.raises(ValueError, match="no user signs in"):
        found[f"test_signin_{letter.number}"]()


def test_an_error_says_how_much_was_done_before_it(home: Home, orders: list[str], said: Say, tmp_path: Path) -> None:
    file = tmp_path / "two"
    said("drop", *orders, "--export", file)
    lines = file.read_text().splitlines()
    lines[2] = lines[2].replace('/0","sequence"', '/no priority","sequence"')
    file.write_text("\n".join(lines))

    refused = said("requeue", "--from", file, "--yes")

    assert refused.status == FAILED
    assert "; 2 were put back before that\n" in refused.errors
    assert len(in_tubes(home.url)) == 2
