"""The views of `python -m shardq` show everything, do no harm to a terminal, and bear every standard output."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shardq.cli import FAILED, OK, main
from shardq.deadletters import DeadLetter
from shardq.drivers import SharedStorage
from shardq.encoding.replies import kept_result, success
from shardq.model import KEPT_PIPE, Batch, dead_pipe
from tests.support import hands, python
from tests.support.drivers import MIB
from tests.support.programs import ROOT
from tests.support.segments import files_of
from tests.support.tasks import LIMIT_S

PIPE = "app.jobs/Resize/3/0"
GRAVE = dead_pipe("app.jobs/Resize")
USAGE = 2
#: What a terminal would act upon: escape, C1, direction, no width, separators of lines, delete.
HOSTILE = "\x1b[31mred\x9b0m \u202egnp.exe \u200b\u2028\x7f\r\n\tend"

pack = msgspec.msgpack.encode

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], url: str) -> Say:
    """The command in this process: its exit code, and what it wrote to standard output and error."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status = main([*map(str, words), "--url", url])
        except SystemExit as end:  # argparse's way
            status = int(end.code or 0)
        return (status, *capsys.readouterr())

    return run


def program(url: str, *words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own."""
    command = (sys.executable, "-m", "shardq", *words, "--url", url)
    options = {"capture_output": True} | options
    return python.run(command, cwd=ROOT, timeout=LIMIT_S, check=False, **options)


def leave(name: str, *messages: bytes, pipe: str = PIPE) -> None:
    """A segment that no process uses, with these messages in it."""
    storage = SharedStorage.create(name, 8 * MIB)
    assert storage.store.appending.append([(pipe, messages)])
    asyncio.run(storage.close())


def bury(name: str, *messages: bytes, most: int = 100, error: str = "ValueError: x", traceback: str = "") -> None:
    """A segment with these messages as dead letters."""
    storage = SharedStorage.create(name, 8 * MIB)
    asyncio.run(_bury(storage, messages, most, error, traceback))
    storage.detach()


async def _bury(storage: SharedStorage, messages: Sequence[bytes], most: int, error: str, traceback: str) -> None:
    storage.settings.dead_letters = most
    await storage.append([(PIPE, messages)])
    token = await storage.claim("app.jobs/Resize/3")
    for message in messages:
        sequence = (await hands.take(storage, [PIPE], 1, token)).sequence
        letter = DeadLetter(PIPE, sequence, message, "raised", error, 1, 1, 2, traceback)
        assert await hands.bury(storage, PIPE, sequence, token, GRAVE, letter.encoded())


#: Messages that JSON has no form of, and how they are shown.
STRANGE: dict[str, tuple[bytes, Any]] = {
    "mixed keys": (pack({1: "a", "1": "b", None: "c"}), {"pairs": [[1, "a"], ["1", "b"], [None, "c"]]}),
    "keys of bytes": (pack({b"\xff": 1}), {"pairs": [["/w==", 1]]}),
    "keys of arrays": (b"\x81\x92\x01\x02\x03", {"pairs": [[[1, 2], 3]]}),
    "true as a key": (pack({True: 1}), {"pairs": [[True, 1]]}),
    "integers as keys": (pack({1: {2: 3}}), {"1": {"2": 3}}),
    "in the depth": (pack([{"a": {None: b"x"}}]), [{"a": {"pairs": [[None, "eA=="]]}}]),
    "no number": (pack([float("nan"), float("-inf"), 1.5]), ["nan", "-inf", 1.5]),
    "an extension": (pack(msgspec.msgpack.Ext(7, b"ab")), {"extension": 7, "data": "YWI="}),
    "bytes": (pack(b"ab"), "YWI="),
}
#: Messages that are no MessagePack, or that nothing here can read.
UNREADABLE = {
    "no MessagePack": b"\xc1",
    "keys that are maps": b"\x81\x81\x01\x02\x03",
    "nested deeply": b"\x91" * 100_000 + b"\x01",
    "no text": b"\xa1\xff",
    "cut off": b"\x92\x01",
}


@pytest.mark.parametrize("kind", STRANGE)
def test_what_json_does_not_have_is_shown_and_hides_nothing(kind: str, name: str, url: str, said: Say) -> None:
    message, shown = STRANGE[kind]
    leave(name, b"\x01", message, b"\x02")

    status, out, errors = said("peek", PIPE, "--json")

    assert (status, errors) == (OK, "")
    assert json.loads(out) == [1, shown, 2]
    assert [json.loads(line) for line in said("peek", PIPE)[1].splitlines()] == [1, shown, 2]


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_cannot_be_read_is_shown_as_it_is(kind: str, name: str, url: str, said: Say) -> None:
    leave(name, b"\x01", UNREADABLE[kind], b"\x02")

    status, out, errors = said("peek", PIPE, "--json")

    first, strange, last = json.loads(out)
    assert (status, errors, first, last) == (OK, "", 1, 2)
    assert set(strange) == {"undecodable", "because"}


def test_such_a_result_hides_no_others(name: str, url: str, said: Say) -> None:
    batch = Batch.of([b"\x01"])
    replies = [success([0], [its], batch, 0) for its in (b"\x01", UNREADABLE["keys that are maps"], b"\x02")]
    leave(name, *(kept_result(b"d" * 16, "app/H", 1, reply) for reply in replies), pipe=KEPT_PIPE)

    status, out, errors = said("results", "--json")

    first, strange, last = [its["result"] for its in json.loads(out)]
    assert (status, errors, first, last) == (OK, "", 1, 2)
    assert set(strange) == {"undecodable", "because"}
    assert said("results")[0] == OK


def test_such_a_letter_hides_no_others(name: str, url: str, said: Say) -> None:
    messages = [b"\x01", *(message for message, _ in STRANGE.values()), *UNREADABLE.values(), b"\x02"]
    bury(name, *messages)

    status, out, errors = said("dead", "list", "--json")
    found = json.loads(out)

    assert (status, errors, len(found)) == (OK, "", len(messages))
    assert [letter["request"] for letter in found][: 1 + len(STRANGE)] == [1, *(shown for _, shown in STRANGE.values())]
    for letter in found:
        assert said("dead", "show", letter["id"])[0] == OK


def test_nothing_foreign_acts_upon_a_terminal(name: str, url: str, said: Say) -> None:
    bury(name, pack({HOSTILE: HOSTILE}), error=f"ValueError: {HOSTILE}", traceback=f"Traceback\n  {HOSTILE}\n")
    storage = SharedStorage.attach(name)
    storage.store.appending.append([(f"app.{HOSTILE}/Resize/3/0", [pack(HOSTILE)])])
    storage.detach()
    [letter] = json.loads(said("dead", "list", "--json")[1])

    for words in (
        ("status", "--sample", "0"),
        ("tubes",),
        ("tubes", "--json"),
        ("peek", f"app.{HOSTILE}/Resize/3/0"),
        ("peek", f"app.{HOSTILE}/Resize/3/0", "--json"),
        ("peek", f"no {HOSTILE} pipe"),
        ("dead", "list"),
        ("dead", "list", "--json"),
        ("dead", "show", letter["id"]),
        ("dead", "show", letter["id"], "--json"),
        ("dead", "show", HOSTILE),
        ("dead", "drop", f"app{HOSTILE}#1"),
        ("recurrent", "cancel", HOSTILE),
        ("tubes", HOSTILE),
        ("tubes", "--limit", HOSTILE),
        (HOSTILE,),
    ):
        _, out, errors = said(*words)
        assert out + errors
        assert [one for one in out + errors if not (one.isprintable() or one in "\n\t")] == [], words
    assert len(said("dead", "list")[1].splitlines()) == 2
    assert len(said("tubes")[1].splitlines()) == 2


def test_what_is_escaped_in_json_is_still_there(name: str, url: str, said: Say) -> None:
    leave(name, pack(HOSTILE + "\U0001f600é\U000e0041"))

    _, out, _ = said("peek", PIPE, "--json")

    assert json.loads(out) == [HOSTILE + "\U0001f600é\U000e0041"]
    assert "\U0001f600é" in out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
def test_every_encoding_can_be_written(encoding: str, name: str, url: str) -> None:
    text = "Größe \u4e2d \U0001f600"
    bury(name, pack(text), error=text)
    environment = os.environ | {"PYTHONIOENCODING": encoding}

    as_json = program(url, "dead", "list", "--json", env=environment)
    as_text = program(url, "dead", "list", env=environment)

    for done in (as_json, as_text):
        assert (done.returncode, done.stderr) == (OK, b"")
    assert json.loads(as_json.stdout.decode(encoding))[0]["request"] == text
    assert "Gr" in as_text.stdout.decode(encoding)


def test_a_name_that_is_no_text_is_refused_and_named(name: str, url: str) -> None:
    leave(name, b"\x01")
    done = program(url, "dead", "show", b"a\xff#1".decode(errors="surrogateescape"))
    assert (done.returncode, done.stdout) == (FAILED, b"")
    assert rb"'a\udcff/dead' is no name" in done.stderr


@pytest.mark.parametrize(
    "words", [("status", "--sample", "0"), ("dead", "list", "--json"), ("dead", "requeue", "--all", "--yes")]
)
def test_a_closed_output_keeps_nothing_from_being_done(words: tuple[str, ...], name: str, url: str) -> None:
    bury(name, b"\x01")
    done = program(
        url, *words, preexec_fn=lambda: os.close(1), stdout=None, stderr=subprocess.PIPE, capture_output=False
    )
    assert (done.returncode, done.stderr) == (OK, b"")


def test_closed_errors_leave_the_exit_code(name: str, url: str) -> None:
    done = program(url, "status", preexec_fn=lambda: os.close(2), stdout=subprocess.PIPE, capture_output=False)
    assert (done.returncode, done.stdout) == (FAILED, b"")


def test_a_full_output_is_said(name: str, url: str) -> None:
    bury(name, b"\x01")
    with open("/dev/full", "w") as full:
        done = program(
            url, "dead", "requeue", "--all", "--yes", stdout=full, stderr=subprocess.PIPE, capture_output=False
        )
    assert done.returncode == FAILED
    assert done.stderr == (
        b"shardq: standard output cannot be written: No space left on device; what was asked for is done\n"
    )
    with open("/dev/full", "w") as full:  # where standard error has nothing but a hint
        done = program(url, "pause", "app.jobs/Gone", stderr=full, stdout=subprocess.PIPE, capture_output=False)
    assert (done.returncode, done.stdout) == (OK, b"app.jobs/Gone is paused\n")


@pytest.mark.parametrize("limit", ["-1", "-5", "1.5", "many", "9" * 5000, "", "-9" * 20, "1e3"])
@pytest.mark.parametrize("words", [("tubes",), ("peek", PIPE), ("dead", "list"), ("recurrent", "list")])
def test_a_limit_that_is_none_is_refused(words: tuple[str, ...], limit: str, name: str, url: str, said: Say) -> None:
    leave(name, b"\x01")
    status, out, errors = said(*words, f"--limit={limit}")
    assert (status, out) == (USAGE, "")
    assert "give a number from 0 up" in errors
    assert len(errors) < 2000


@pytest.mark.parametrize("seconds", ["-1", "nan", "soon", "inf", "", "1e300"])
def test_a_sample_that_is_none_is_refused(seconds: str, said: Say) -> None:
    status, out, errors = said("status", f"--sample={seconds}")
    assert (status, out) == (USAGE, "")
    assert "give seconds from 0 up, at most 10 years" in errors


def test_the_largest_limit_shows_all(name: str, url: str, said: Say) -> None:
    leave(name, b"\x01", b"\x02")
    for words in (("tubes",), ("peek", PIPE), ("dead", "list")):
        assert said(*words, "--limit", "9" * 18)[0] == OK


def test_letters_that_had_to_go_are_told_of(name: str, url: str, said: Say, tmp_path: Path) -> None:
    bury(name, b"\x01", b"\x02", b"\x03", most=2)

    _, status, _ = said("status", "--sample", "0")
    assert "dead:     2 dead letters; 3 requests failed for good so far; 1 letter made room for later ones" in status
    assert json.loads(said("status", "--sample", "0", "--json")[1])["evicted"] == 1
    *_, last = said("dead", "list")[1].splitlines()
    assert last == "1 letter made room for later ones and went for ever (of all handlers)"
    said("dead", "drop", "--all", "--yes", "--export", tmp_path / "gone")
    assert "0 dead letters; 3 requests failed for good so far; 1 letter" in said("status", "--sample", "0")[1]
    assert said("destroy")[0] == OK
    assert files_of(name) == set()


def test_one_is_one(name: str, url: str, said: Say) -> None:
    bury(name, b"\x01")
    assert "1 dead letter; 1 request failed for good so far\n" in said("status", "--sample", "0")[1]
