"""The web applications of `examples/`, each under the server that its docstring names."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from examples.ledger import FOLDER_VARIABLE
from shardq.drivers import SharedStorage
from shardq.shm.files.own_files import remove_files
from tests.support.drivers import MIB
from tests.support.programs import ROOT, Supervise, run_together, until
from tests.support.segments import files_of, new_name
from tests.support.tasks import LIMIT_S
from tests.support.web_servers import Server, gunicorn, uvicorn

ACCOUNT = "/accounts/7"
#: Some hundred of these fill a small segment.
LONG = "x" * 5000
OPERATOR = ("operator", "a password")


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The application's segment, with its accounts in the test's folder."""
    name = new_name()
    monkeypatch.setenv("LEDGER_URL", f"shm://{name}")
    monkeypatch.setenv("LEDGER_OPERATOR", OPERATOR[1])
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    yield name
    remove_files(name)


def entries(first: int, count: int, more: str = "") -> list[dict[str, Any]]:
    return [{"identifier": f"entry-{number}{more}", "amount": number} for number in range(first, first + count)]


def identifiers(folder: Path) -> list[str]:
    return [line.split()[0].removesuffix(LONG) for line in (folder / "7.txt").read_text().splitlines()]


async def test_fastapi_has_its_work_done(name: str, tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    httpx = pytest.importorskip("httpx")
    application = importlib.import_module("examples.fastapi_app").app
    async with (
        application.router.lifespan_context(application),
        httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://localhost") as client,
    ):
        assert (await client.get(ACCOUNT)).json() == {"balance": 0, "entries": 0}
        for first in range(0, 100, 10):
            answer = await client.post(f"{ACCOUNT}/entries", json=entries(first, 10))
            assert (answer.status_code, answer.json()) == (202, {"accepted": 10})
        assert (await client.post(f"{ACCOUNT}/entries", json=[{"amount": 1}])).status_code == 422

        assert await application.state.supervisor.drain()
        assert (await client.get(ACCOUNT)).json() == {"balance": sum(range(100)), "entries": 100}
        status = (await client.get("/status")).json()
        assert (status["queued"], status["handled"]) == (0, 100)
        assert [(await client.get("/jobs/", auth=auth)).status_code for auth in (None, ("operator", "?"))] == [401, 401]
        seen = (await client.get("/jobs/api/v1/status", auth=OPERATOR)).json()
        assert (seen["name"], seen["handled"]) == (name, 100)
    assert identifiers(tmp_path) == [f"entry-{number}" for number in range(100)]
    assert files_of(name) == set()


def test_web_workers_of_uvicorn_share_one_family(name: str, tmp_path: Path) -> None:
    with uvicorn("examples.fastapi_app:app", "--workers", "2") as server:
        for first in range(0, 200, 10):
            assert server.post(f"{ACCOUNT}/entries", entries(first, 10)).status_code == 202
        until(lambda: server.get("/status")["queued"] == 0, "everything is posted")
        until(lambda: len(workers_of(server)) == 2, "the family has its workers")
        assert server.get(ACCOUNT)["balance"] == sum(range(200))
        family = server.processes()
    assert psutil.wait_procs(family, timeout=LIMIT_S)[1] == []
    assert identifiers(tmp_path) == [f"entry-{number}" for number in range(200)]
    assert files_of(name) == set()


def test_a_reload_of_uvicorn_starts_the_family_anew(name: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "changed.py").write_text("")
    with uvicorn("examples.fastapi_app:app", "--reload", "--reload-dir", str(source)) as server:
        until(lambda: len(workers_of(server)) == 2, "the family has its workers")
        former = workers_of(server)
        assert server.post(f"{ACCOUNT}/entries", entries(0, 50)).status_code == 202

        os.utime(source / "changed.py")
        until(lambda: not former & workers_of(server), "it was reloaded")
        assert server.post(f"{ACCOUNT}/entries", entries(50, 50)).status_code == 202

        until(lambda: server.get(ACCOUNT)["entries"] == 100, "everything is posted")
    assert identifiers(tmp_path) == [f"entry-{number}" for number in range(100)]
    assert files_of(name) == set()


def workers_of(server: Server) -> set[int]:
    """Pids of the workers. Empty: the server is not there just now."""
    httpx = pytest.importorskip("httpx")
    try:
        return set(server.get("/status")["workers"])
    except httpx.TransportError:
        return set()


def test_flask_refuses_what_has_no_room_and_its_web_workers_may_be_replaced(name: str, tmp_path: Path) -> None:
    pytest.importorskip("flask")
    SharedStorage.create(name, MIB).detach()
    words = ("--config", "python:examples.gunicorn_config", "--max-requests", "5", "--max-requests-jitter", "0")
    with gunicorn("examples.flask_app:app", *words, home=tmp_path) as server:
        accepted, refused = fill(server)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")

        family = Supervise("examples.ledger", "--url", f"shm://{name}", "--workers", 1).serving()
        try:
            until(lambda: server.get(ACCOUNT)["entries"] == accepted, "what was accepted is posted")
            web_workers = set()
            for number in range(accepted, accepted + 12):
                assert server.post(f"{ACCOUNT}/entries", entries(number, 1)).status_code == 202
                web_workers.add(server.get(ACCOUNT)["web_worker"])
            assert len(web_workers) > 2
            until(lambda: server.get(ACCOUNT)["entries"] == accepted + 12, "the others are posted, too")
        finally:
            family.stop()
            family.discard()
    assert identifiers(tmp_path) == [f"entry-{number}" for number in range(accepted + 12)]


def fill(server: Server) -> tuple[int, Any]:
    """Register until there is no room. Returns how many entries were accepted, and the answer that refuses more."""
    accepted = 0
    while (answer := server.post(f"{ACCOUNT}/entries", entries(accepted, 10, LONG))).status_code == 202:
        accepted += 10
    return accepted, answer


@pytest.fixture
def site(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The database of the site that is made with Django."""
    pytest.importorskip("django")
    database = tmp_path / "site.sqlite3"
    monkeypatch.setenv("SITE_DATABASE", str(database))
    monkeypatch.setenv("SITE_QUEUE", f"shm://{name}")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "examples.django_site.settings")
    subprocess.run(
        (sys.executable, "-m", "django", "migrate", "--run-syncdb", "--verbosity", "0", "--pythonpath", str(ROOT)),
        check=True,
        timeout=LIMIT_S,
    )
    return database


def test_django_has_the_tasks_of_committed_payments_run_in_the_order_of_their_accounts(
    site: Path, name: str, tmp_path: Path
) -> None:
    words = ("examples.django_site.jobs", "--preload", "examples.django_site.wsgi", "--url", f"shm://{name}")
    family = Supervise(*words, "--workers", 2).serving()
    try:
        with gunicorn("examples.django_site.wsgi", "--workers", "2", home=tmp_path) as server:
            for number in range(20):
                paid = server.post(f"/accounts/{number % 2}/payments", {"identifier": f"p{number}", "amount": 1})
                assert paid.status_code == 202
            overdrawn = server.post("/accounts/0/payments", {"identifier": "too much", "amount": -11})
            assert overdrawn.status_code == 409

            until(lambda: [len(booked(server, account)) for account in (0, 1)] == [10, 10], "all are booked")
            for account in (0, 1):
                assert booked(server, account) == [[its + 1, f"p{2 * its + account}"] for its in range(10)]
            until(lambda: [receipts(server, account) for account in (0, 1)] == [10, 10], "receipts are sent in time")
        [done] = run_together([("status", "--json")], f"shm://{name}")
        assert json.loads(done.stdout)["accepted"] == 40, "what was taken back has no tasks"
        until(lambda: str(site) not in open_files(family.workers(2)), "workers close connections after each batch")
        assert family.stop() == 0
    finally:
        family.discard()
    assert files_of(name) == set()


def open_files(pids: set[int]) -> set[str]:
    return {file.path for pid in pids for file in psutil.Process(pid).open_files()}


def booked(server: Server, account: int) -> list[list[Any]]:
    found: list[list[Any]] = server.get(f"/accounts/{account}")["booked"]
    return found


def receipts(server: Server, account: int) -> int:
    found: int = server.get(f"/accounts/{account}")["receipts"]
    return found
