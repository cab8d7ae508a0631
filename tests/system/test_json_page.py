"""`docs/reference/json.md` says what the commands print with `--json`, compared with what they really print."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shardq import Worker, connect
from shardq.cli import main
from shardq.drivers import SharedLock, SharedStorage
from tests.support import letters
from tests.support.drivers import MIB
from tests.support.homes import Home, SegmentHome, ServerHome, on_each_home
from tests.support.jobs import Folder, Gated
from tests.support.letters import Charge, Fulfil, Order, User, let_fail, letters_at, name_of
from tests.support.programs import ROOT
from tests.support.segments import new_name, remove_all_like
from tests.support.supervised import Start
from tests.system.test_completion import COMMANDS

PATH = ROOT / "docs" / "reference" / "json.md"
APP = ("--app", letters.__name__)
TUBE = f"{name_of(Fulfil)}/0/0"
KINDS: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "integer": (int,),
    "number": (int, float),
    "true or false": (bool,),
    "list": (list,),
    "object": (dict,),
}
#: Their fields are described in words.
IN_WORDS = ("guard",)
#: Commands that print what another one does, or no JSON.
SAME = {"dead show": "dead list", "take-over": "move", "completion": "", "metrics": "", "web": "", "top": ""}

Say = Callable[..., Any]


def page() -> dict[str, dict[str, str]]:
    """The kind of each field, by the headings."""
    found: dict[str, dict[str, str]] = {}
    for section in re.split(r"^## ", PATH.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        rows = re.findall(r"^\| (`.*?`) \| (.*?) \|", section, re.MULTILINE)
        found[section.partition("\n")[0]] = {
            name: kind for names, kind in rows for name in re.findall(r"`(.*?)`", names)
        }
    return found


PAGE = page()


def fields(value: Any, kinds: dict[str, str], path: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of a value by their paths, as far as the page describes them."""
    if path:
        yield path, value
    if kinds.get(path) == "request" or path in IN_WORDS:
        return
    if isinstance(value, dict):
        for key, its in value.items():
            yield from fields(its, kinds, f"{path}.{key}".removeprefix("."))
    if isinstance(value, list):
        for its in value:
            yield from fields(its, kinds, f"{path}[]")


def check(heading: str, *printed: Any) -> None:
    """Compare what was printed with the page: each field is there with its kind, and none else."""
    kinds, seen = PAGE[heading], set()
    for path, value in (found for each in printed for found in fields(each, kinds)):
        if path.endswith("[]") and path not in kinds and isinstance(value, dict):
            continue  # a member of a list, whose fields come next
        assert path in kinds, f"{heading}: the page does not know {path}"
        seen.add(path)
        kind, or_null, _ = kinds[path].partition(" or null")
        if kind == "request" or (or_null and value is None):
            continue
        assert isinstance(value, KINDS[kind]), f"{heading}: {path} is {value!r}"
        assert isinstance(value, bool) == (kind == "true or false"), f"{heading}: {path} is {value!r}"
    assert kinds.keys() - seen == set(), f"{heading}: not printed"


@pytest.fixture
def said(home: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """What a command prints with `--json` for the test's storage."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object, url: str = home.url) -> Any:
        capsys.readouterr()
        main([*map(str, words), "--json", *(["--url", url] if url else [])])
        return json.loads(capsys.readouterr().out)

    return run


def test_the_page_has_every_command() -> None:
    described = {heading.partition(",")[0] for heading in PAGE}
    assert described | SAME.keys() == set(COMMANDS)


@on_each_home
def test_letters_and_schedules(home: Home, said: Say, tmp_path: Path) -> None:
    if isinstance(home, SegmentHome):
        SharedStorage.create(home.name, 8 * MIB).detach()
    let_fail(home.url, Fulfil, Order(1, User(1), "how"), Order(2, User(2), "key"), Order(3, User(3), "3"))
    let_fail(home.url, Charge, letters.Card(holder="Ann", digits="1"))
    first, second, third, card = sorted(letters_at(home.url), key=lambda its: its.letter.handler, reverse=True)

    check("dead list", said("dead", "list"), [said("dead", "show", first.id)])
    check("dead test", said("dead", "test", first.id, *APP))
    failed = said("dead", "replay", card.id, *APP)
    assert failed["outcome"] == "raised"
    check("dead edit", said("dead", "edit", first.id, "--set", "how="))
    check("dead edit", said("dead", "edit", second.id, "--set", f"number={_number(second.letter.message)}"))
    check("dead drop", said("dead", "drop", second.id), said("dead", "drop", "--all", "--match", "number=99"))
    check("dead requeue", said("dead", "requeue", third.id))
    check("audit", said("audit"))
    check("peek", said("peek", first.letter.pipe, "--limit", 9))
    check("peek, with --traces", said("peek", first.letter.pipe, "--traces"))
    check("tubes", said("tubes"))
    check("tubes, with --by-handler", said("tubes", "--by-handler"))
    check("why", said("why", first.letter.pipe), {"unknown": ["full"]})
    check("park", said("park", first.letter.pipe))
    check("check", said("check"), ["one"])
    asyncio.run(_repeat(home.url))
    check("recurrent list", listed := said("recurrent", "list"))
    asyncio.run(_defer(home.url))
    waiting = said("later", "list")
    check("later list", waiting)
    once = [its["id"] for its in waiting if not its["schedule"]]
    check("later run", said("later", "run", once[0]))
    cancelled = said("later", "cancel", once[1])
    check("later cancel", cancelled, said("later", "cancel", "--match", "number=99"))
    check("later restore", said("later", "restore", cancelled["export"], "--yes"))
    check("later skip", said("later", "skip", listed[0]["id"]))
    check("recurrent cancel", said("recurrent", "cancel", listed[0]["id"]))
    check("destroy", said("destroy", "--with-requests"))
    check("dead replay", failed, {"id": "", "outcome": "returned", "returned": 1, "sent": [{"tube": "", "request": 1}]})


def _number(message: bytes) -> int:
    import msgspec

    return int(msgspec.msgpack.decode(message)["number"])


async def _repeat(url: str) -> None:
    async with await connect(url) as queue:
        await queue.register(Fulfil, Order(1, User(1)), recurrent=3600)


async def _defer(url: str) -> None:
    async with await connect(url) as queue:
        await queue.register(Fulfil, Order(1, User(1)), Order(2, User(1)), defer=3600)


def test_results(home: Home, said: Say) -> None:
    SharedStorage.create(home.name, 8 * MIB).detach()
    asyncio.run(_keep(home.url))
    found = said("results")
    assert len(found) == 2
    check("results", found)
    assert said("results", "--drop", found[0]["id"]) == {"dropped": 1}


async def _keep(url: str) -> None:
    async with await connect(url) as queue:
        await queue.submit(Fulfil, Order(1, User(1)))
        await queue.submit(Fulfil, Order(2, User(1), "fails"))
        storage: Any = queue.storage
        await Worker(SharedLock(storage), queue).loop(limit=2, handler=Fulfil)


def test_a_family(home: Home, said: Say, start: Start, folder: Folder) -> None:
    home.leave(Gated, folder.notes([0]))
    program = start(Gated.__module__, "--url", home.url, "--workers", 1)
    folder.until("begin", 0)
    check("pause", said("pause", "app.jobs/Other", "--for", "60", "--reason", "why"))
    check("status, of a segment", said("status", "--sample", "0.01"))
    check("resume", said("resume", "app.jobs/Other"))
    assert said("status", "--sample", "0")["rates"] is None
    check("stack", said("stack"))
    folder.permit(1)
    assert program.stop() == 0


@pytest.mark.parametrize("home", [ServerHome], indirect=True, ids=["server"])
def test_the_status_of_a_server(home: Home, said: Say, start: Start, folder: Folder) -> None:
    home.leave(Gated, folder.notes([0]))
    program = start(Gated.__module__, "--url", home.url, "--workers", 1)
    folder.until("begin", 0)
    said("pause", "app.jobs/Other")
    check("status, of a server", said("status", "--sample", "0.01"))
    said("resume", "app.jobs/Other")
    folder.permit(1)
    assert program.stop() == 0


def test_a_move(home: Home, said: Say) -> None:
    SharedStorage.create(home.name, 8 * MIB).detach()
    target = new_name()
    try:
        check("move", said("move", home.url, f"shm://{target}", url=""))
    finally:
        remove_all_like(target)


def test_the_page_has_the_code_of_every_reason() -> None:
    source = "".join(path.read_text() for path in (ROOT / "shardq" / "reasons").glob("*.py"))
    text = PATH.read_text(encoding="utf-8")
    listed = re.findall(r"^\* (`.*?):", text.partition("\n## why\n")[2].partition("\n## ")[0], re.MULTILINE)
    codes = [code for line in listed for code in re.findall(r"`(.*?)`", line)]
    assert sorted(codes) == sorted(set(re.findall(r'Reason\("([a-z-]+)"', source)))
