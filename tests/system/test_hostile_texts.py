"""No command lets a text out of a storage act upon a terminal, wherever it stands: in names, requests, errors."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from shardq import connect
from shardq.cli import main, output
from shardq.cli.parser import new_parser
from shardq.drivers import SharedStorage
from shardq.model import Action
from shardq.text.printable import printable
from tests.support import hostile
from tests.support.drivers import MIB
from tests.support.homes import Home, SegmentHome, on_each_home
from tests.support.hostile import ALL, HOSTILE, NAME, Speaks, Text, acting
from tests.support.letters import let_fail, letters_at

pytestmark = pytest.mark.every_case

TUBE = f"app.{NAME}/Resize/3/0"
SPEAKS = f"{hostile.__name__}/Speaks"
APP = ("--app", hostile.__name__)

#: What is run of each command. `LETTER` stands for the id of a dead letter of `Speaks`, `GONE` for one with a hostile
#: name that is not there.
RUNS: dict[str, list[tuple[str, ...]]] = {
    "status": [("--sample", "0"), ("--sample", ALL), ("--watch", ALL)],
    "metrics": [()],
    "web": [("--listen", NAME)],  # the page itself has a test of its own
    "top": [()],
    "tubes": [(), ("--limit", ALL), ("--by-handler",)],
    "peek": [(TUBE,), (f"no {ALL} pipe",), (f"a{ALL}/B/0/0",)],
    "dead list": [(), (SPEAKS, "--match", "error~red"), ("--match", ALL), ("--after", ALL), (ALL,)],
    "dead show": [("LETTER",), ("GONE",), (ALL,)],
    "dead requeue": [("GONE",), ("--all",), ("--from", ALL), ("--from", "exported", "--match", "text=no")],
    "dead edit": [
        ("LETTER", "--set", f"0={ALL}", "--app", ALL),
        ("LETTER", "--set", f"{ALL}=1"),
        ("LETTER", "--set", ALL),
    ],
    "dead replay": [("LETTER", *APP), ("LETTER", "--app", ALL), ("GONE", *APP)],
    "dead test": [("LETTER", *APP), ("GONE", *APP)],
    "dead drop": [
        ("GONE",),
        ("--all",),
        ("--all", "--yes", "--export", "/proc/\x1b[31mno"),
        ("LETTER", "--export", "x"),
    ],
    "why": [(), (TUBE,), (f"a{ALL}/B",), (f"a{ALL}/B/0/0",), (f"no {ALL} pipe",)],
    "stack": [(), (ALL,)],
    "park": [(TUBE,), (f"gone.{ALL}/B/0/0",)],
    "later list": [(), ("--match", f"text~{ALL}"), ("--match", ALL), ("--after", ALL), ("--handler", ALL)],
    "later cancel": [
        ("GONE",),
        (ALL,),
        ("--all",),
        ("--all", "--yes", "--export", "/proc/\x1b[31mno"),
        ("--handler", SPEAKS, "--export", "x", "--yes"),
    ],
    "later run": [("GONE",), (ALL,), ("--match", f"text~{ALL}")],
    "later skip": [("app/None/0/0#0",), (ALL,), ("--match", f"text~{ALL}")],
    "later restore": [(ALL,), ("x", "--match", ALL), ("x", "--yes")],
    "pause": [(f"app.{ALL}/Job", "--reason", ALL[:60]), (ALL,), ("app/Job", "--for", ALL)],
    "resume": [(f"app.{ALL}/Job",), (ALL,)],
    "audit": [(), ("--limit", ALL)],
    "recurrent list": [()],
    "recurrent cancel": [(ALL,)],
    "results": [(), ("--drop", ALL)],
    "check": [()],
    "completion": [(ALL,), ("words", "--", ALL)],
    "move": [(ALL, ALL)],
    "take-over": [(ALL, ALL, ALL)],
    "destroy": [()],
}
WITHOUT_URL = ("completion", "move", "take-over")

Run = Callable[..., str]


@pytest.fixture
def run(home: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """What a command writes to standard output and error."""
    monkeypatch.chdir(tmp_path)

    def run(command: str, *words: str) -> str:
        url = () if command in WITHOUT_URL else ("--url", home.url)
        capsys.readouterr()
        with suppress(SystemExit):  # argparse's way
            main([*command.split(), *(word.replace("\0", "") for word in words), *url])  # no argument can have that
        return "".join(capsys.readouterr())

    return run


@pytest.fixture
def letter(home: Home) -> str:
    """A storage that is full of hostile texts; returns the id of a dead letter in it."""
    if isinstance(home, SegmentHome):
        SharedStorage.create(home.name, 8 * MIB).detach()
    let_fail(home.url, Speaks, Text(ALL))
    asyncio.run(_fill(home.url))
    return letters_at(home.url)[0].id


async def _fill(url: str) -> None:
    async with await connect(url) as queue:
        await queue.register(Speaks, Text(ALL), recurrent=3600)
        await queue.register(Speaks, Text(ALL), defer=3600)
        message = msgspec.msgpack.encode({ALL: [ALL, ALL.encode(), {1: ALL, ALL: 2}], "password": ALL})
        assert await queue.storage.append([(TUBE, [message])])
        for text in HOSTILE.values():
            await queue.storage.record(Action(text, text, 1, text, text, 0, 1, text, text))


def leaves(parser: argparse.ArgumentParser, name: str = "") -> Iterator[str]:
    """The names of all commands."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield name
    for group in groups:
        for word, inner in group.choices.items():
            yield from leaves(inner, f"{name} {word}".strip())


def test_every_command_is_run_here() -> None:
    assert sorted(RUNS) == sorted(leaves(new_parser()))


@on_each_home
def test_no_command_lets_a_text_act(home: Home, letter: str, run: Run) -> None:
    names = {"LETTER": letter, "GONE": f"app.{NAME}/Resize#1"}
    for command, runs in RUNS.items():
        for words in runs:
            chosen = [names.get(word, word) for word in words]
            for as_json in ([], ["--json"]):
                if as_json and command in ("completion", "metrics", "web"):
                    continue
                said = run(command, *as_json, *chosen)
                assert acting(said) == [], (command, words, as_json)


@on_each_home
def test_json_is_exact(home: Home, letter: str, run: Run) -> None:
    [shown] = [its for its in json.loads(run("dead list", "--json")) if its["id"] == letter]
    assert shown["request"] == [ALL]
    [peeked] = json.loads(run("peek", "--json", TUBE))
    assert peeked[ALL][0] == ALL
    assert TUBE in [tube["pipe"] for tube in json.loads(run("tubes", "--json"))]


@pytest.mark.parametrize("kind", HOSTILE)
def test_each_kind_is_made_visible(kind: str) -> None:
    seen = printable(HOSTILE[kind])
    assert acting(seen) == []
    assert seen.isprintable()
    assert "\\" in seen


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_a_command_forgets_to_escape_is_escaped_at_the_door(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.say(HOSTILE[kind])
    output.complain(HOSTILE[kind])
    out, errors = capsys.readouterr()
    assert [one for one in out + errors if not (one.isprintable() or one in "\n\t")] == []
    assert acting(errors) == []
