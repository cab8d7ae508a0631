"""No view shows a secret unless told to, and messages keep them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shardq import Handler, connect
from shardq.cli import FAILED, OK, main
from shardq.drivers import SharedStorage
from tests.support import letters
from tests.support.drivers import MIB
from tests.support.homes import Home, SegmentHome, on_each_home
from tests.support.letters import Card, Charge, Login, SignIn, let_fail, letters_at, name_of

pytestmark = pytest.mark.every_case

APP = ("--app", letters.__name__)
SECRETS = ("hunter2", "4711", "SN-77", "0815")
LOGIN = Login("Ann", "hunter2", 4711, {"Serial_Number": "SN-77", "os": "linux"})
CARD = Card(holder="Ann", digits="hunter2", codes=[b"4711"], next=Card(holder="Bob", digits="0815"))
HIDDEN_LOGIN = ["Ann", "***", "***", {"Serial_Number": "***", "os": "linux"}]
HIDDEN_CARD = {
    "codes": ["***"],
    "digits": "***",
    "holder": "Ann",
    "next": {"codes": [], "digits": "***", "holder": "Bob", "next": None},
}

Say = Callable[..., str]


@pytest.fixture
def said(home: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """What a command on the test's storage says."""
    monkeypatch.chdir(tmp_path)
    if isinstance(home, SegmentHome):
        SharedStorage.create(home.name, 8 * MIB).detach()

    def run(*words: object, status: int = OK) -> str:
        capsys.readouterr()
        assert main([*map(str, words), "--url", home.url]) == status
        return "".join(capsys.readouterr())

    return run


def register(url: str, handler: type[Handler[Any]], request: Any, **options: Any) -> None:
    async def act() -> None:
        async with await connect(url) as queue:
            await queue.register(handler, request, **options)

    asyncio.run(act())


def secrets_in(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


@on_each_home
@pytest.mark.parametrize(
    ("handler", "request_", "hidden"),
    [(SignIn, LOGIN, HIDDEN_LOGIN), (Charge, CARD, HIDDEN_CARD)],
    ids=["an array", "SecretStr"],
)
def test_a_letter_says_where_its_secrets_are(
    handler: type[Handler[Any]],
    request_: Any,
    hidden: Any,
    home: Home,
    said: Say,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """So views need not know the type."""
    with caplog.at_level(logging.DEBUG):
        let_fail(home.url, handler, request_)
    [letter] = letters_at(home.url)

    for words in (("list",), ("show", letter.id), ("replay", letter.id, *APP), ("test", letter.id, *APP)):
        for as_json in ([], ["--json"]):
            status = 1 if words[0] == "replay" else OK
            text = said("dead", *words, *as_json, status=status)
            assert secrets_in(text) == []
            assert words[0] != "list" or not as_json or json.loads(text)[0]["request"] == hidden
    for as_json in ([], ["--json"]):  # where the request is base64, in which no secret is seen
        assert "`dead list` shows them" in said("peek", letter.grave, *as_json, status=FAILED)
    assert "hunter2" in said("dead", "show", letter.id, "--reveal")
    assert secrets_in(caplog.text) == []
    assert b"hunter2" in letter.letter.message


@on_each_home
def test_requests_in_a_tube_show_none_to_a_user_who_gives_the_application(home: Home, said: Say) -> None:
    register(home.url, SignIn, LOGIN)
    register(home.url, Charge, CARD)
    for handler, hidden in ((SignIn, HIDDEN_LOGIN), (Charge, HIDDEN_CARD)):
        pipe = f"{name_of(handler)}/0/0"
        assert json.loads(said("peek", pipe, "--json", *APP)) == [hidden]
        assert secrets_in(said("peek", pipe, *APP)) == []
        assert "hunter2" in said("peek", pipe, *APP, "--reveal")
        assert "hunter2" in said("peek", pipe)  # an array has no names, and the type is not known


@on_each_home
def test_fields_with_usual_names_are_hidden_without_the_application(home: Home, said: Say) -> None:
    async def fill() -> None:
        async with await connect(home.url) as queue:
            message = msgspec.msgpack.encode({"user": "Ann", "Api-Key": "hunter2", "inner": [{"password": "4711"}]})
            assert await queue.storage.append([("app/Any/0/0", [message])])

    asyncio.run(fill())
    shown = [{"user": "Ann", "Api-Key": "***", "inner": [{"password": "***"}]}]
    assert json.loads(said("peek", "app/Any/0/0", "--json")) == shown
    assert "hunter2" in said("peek", "app/Any/0/0", "--reveal")


@on_each_home
def test_recurrent_requests_show_none(home: Home, said: Say) -> None:
    register(home.url, SignIn, LOGIN, recurrent=3600)
    assert json.loads(said("recurrent", "list", "--json", *APP))[0]["request"] == HIDDEN_LOGIN
    assert secrets_in(said("recurrent", "list", *APP)) == []
    assert "hunter2" in said("recurrent", "list", *APP, "--reveal")


def test_an_editor_sees_none(home: Home, said: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    let_fail(home.url, Charge, CARD)
    [letter] = letters_at(home.url)
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\ncat $1 >> seen\n")
    editor.chmod(0o755)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", str(editor))

    said("dead", "edit", letter.id)
    assert secrets_in((tmp_path / "seen").read_text()) == []
    said("dead", "edit", letter.id, "--reveal")
    assert "hunter2" in (tmp_path / "seen").read_text()
