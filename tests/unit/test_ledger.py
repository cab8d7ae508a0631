"""The accounts of the examples: whatever a client calls its entries, an account can be read and goes on."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from examples.ledger import FOLDER_VARIABLE, Entry, Post, balance, posted

IDENTIFIERS = [
    "plain-1",
    "b c",
    "",
    " ",
    "line\nline",
    "carriage\rreturn",
    "tab\t",
    "line\u2028line",
    "100%",
    "%20",
    "é/ü",
]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))


@pytest.mark.parametrize("identifier", IDENTIFIERS, ids=repr)
def test_an_identifier_may_be_any_text(identifier: str) -> None:
    Post().perform(Entry(1, identifier, 4))
    Post().perform(Entry(1, "next", 5), Entry(1, identifier, 4))

    assert posted(1) == [(identifier, 4), ("next", 5)]
    assert balance(1) == 9


async def test_the_web_application_wants_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi")
    application = importlib.import_module("examples.fastapi_app").app
    monkeypatch.delenv(FOLDER_VARIABLE)

    with pytest.raises(RuntimeError, match=f"set {FOLDER_VARIABLE}"):
        async with application.router.lifespan_context(application):
            pass


def test_a_line_that_a_killed_worker_did_not_end_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "7.txt").write_text("first 1\nsecon", encoding="utf-8")
    assert posted(7) == [("first", 1)]

    Post().perform(Entry(7, "first", 1), Entry(7, "second", 2))

    assert posted(7) == [("first", 1), ("second", 2)]
