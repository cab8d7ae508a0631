"""The examples beside the census, run as their docstrings say."""

from __future__ import annotations

import hashlib
import importlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from examples.ledger import FOLDER_VARIABLE
from shardq.shm.files.own_files import remove_files
from tests.support.programs import ROOT, until
from tests.support.segments import files_of, new_name
from tests.support.tasks import LIMIT_S

ACCOUNT = "/accounts/7"


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The web application's segment, with its accounts in the test's folder."""
    name = new_name()
    monkeypatch.setenv("LEDGER_URL", f"shm://{name}")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    yield name
    remove_files(name)


def ran(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, *map(str, words)),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def test_the_script_prints_the_checksum_of_every_file(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for number in range(200):
        (tmp_path / "below" / f"{number}").write_bytes(b"x" * number)
    done = ran("examples/script.py", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == sorted(
        f"{hashlib.sha256(b'x' * number).hexdigest()}  {tmp_path / 'below' / str(number)}" for number in range(200)
    )


def test_the_notebook_runs_from_the_first_cell_to_the_last() -> None:
    done = ran("-m", "examples.notebook")
    assert (done.returncode, done.stderr) == (0, "")
    sums, zeros, refusal = done.stdout.splitlines()
    assert sums == "[14850, 14950, 15050]"
    assert zeros == "[0, 0, 0] [200, 200, 200]"
    assert refusal.startswith("HandlerError: Typed is defined in an interactive session")


def entries(first: int, count: int) -> list[dict[str, Any]]:
    return [{"identifier": f"entry-{number}", "amount": number} for number in range(first, first + count)]


def identifiers(folder: Path) -> list[str]:
    return [line.split()[0] for line in (folder / "7.txt").read_text().splitlines()]


async def test_the_web_application_has_its_work_done(name: str, tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    httpx = pytest.importorskip("httpx")
    application = importlib.import_module("examples.fastapi_app").app
    async with (
        application.router.lifespan_context(application),
        httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://ledger") as client,
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
    assert identifiers(tmp_path) == [f"entry-{number}" for number in range(100)]
    assert files_of(name) == set()


class Server:
    """The application under uvicorn, with several web workers on one port."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, client: Any) -> None:
        self.process = process
        self.port = port
        self.client = client

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.client.get("/status").json()
        return answer

    def processes(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


@contextmanager
def uvicorn(web_workers: int) -> Iterator[Server]:
    httpx = pytest.importorskip("httpx")
    pytest.importorskip("uvicorn")
    pytest.importorskip("fastapi")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        words = ("-m", "uvicorn", "examples.fastapi_app:app", "--workers", str(web_workers), "--log-level", "warning")
        process = subprocess.Popen(
            (sys.executable, *words, "--fd", str(listening.fileno())), cwd=ROOT, pass_fds=(listening.fileno(),)
        )
    # The socket listens from the start: a request waits in it until the first web worker is there.
    with process, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=LIMIT_S) as client:
        try:
            yield Server(process, port, client)
            process.send_signal(signal.SIGTERM)
            process.wait(LIMIT_S)
        finally:
            process.kill()


def test_web_workers_share_one_family(name: str, tmp_path: Path) -> None:
    with uvicorn(web_workers=2) as server:
        for first in range(0, 200, 10):
            with_new_connection = server.client.post(
                f"{ACCOUNT}/entries", json=entries(first, 10), headers={"Connection": "close"}
            )
            assert with_new_connection.status_code == 202
        until(lambda: server.status()["queued"] == 0, "everything is posted")
        until(lambda: len(server.status()["workers"]) == 2, "the family has its workers")
        assert server.client.get(ACCOUNT).json()["balance"] == sum(range(200))
        family = server.processes()
    assert psutil.wait_procs(family, timeout=LIMIT_S)[1] == []
    assert identifiers(tmp_path) == [f"entry-{number}" for number in range(200)]
    assert files_of(name) == set()
