"""`shardq web` as a user runs it: the address that it prints, a socket for a proxy, its end."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import httpx
import pytest

from shardq.cli import FAILED, main
from shardq.drivers import SharedStorage
from tests.support import python
from tests.support.drivers import MIB
from tests.support.ports import free_ports
from tests.support.programs import ROOT
from tests.support.tasks import LIMIT_S

ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+(?P<prefix>/\S*?)?/\?token=(?P<token>\S+)\n")


@pytest.fixture
def url(name: str) -> str:
    SharedStorage.create(name, 4 * MIB).detach()
    return f"shm://{name}"


@contextmanager
def running(url: str, *words: object, ends_by: Signals = SIGTERM) -> Iterator[str]:
    """What the command said first. In the end it is told to end, and does so without a word more."""
    command: Sequence[str] = (sys.executable, "-m", "shardq", "web", "--url", url, *map(str, words))
    program = python.Program[str](command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert program.stderr is not None
        yield program.stderr.readline()
        program.send_signal(ends_by)
        out, errors = program.communicate(timeout=LIMIT_S)
        assert (out, errors, program.returncode) == ("", "", 0)
    finally:
        program.kill()
        program.communicate()


def test_it_prints_the_address_with_the_token_once(url: str) -> None:
    [port] = free_ports(1)
    with running(url, "--listen", f"127.0.0.1:{port}", "--prefix", "/jobs/") as said:
        found = ADDRESS.fullmatch(said)
        assert found
        assert found["prefix"] == "/jobs"
        with httpx.Client(timeout=LIMIT_S) as client:
            assert client.get(f"http://127.0.0.1:{port}/jobs/").status_code == 401
            assert client.get(said.strip()).status_code == 200
            assert "Overview" in client.get(f"http://127.0.0.1:{port}/jobs/").text


def test_a_proxy_reaches_it_over_a_socket_of_this_user(url: str, tmp_path: Path) -> None:
    path = tmp_path / "page"
    with running(url, "--listen", f"unix:{path}", "--user-header", "X-User", "--read-only", ends_by=SIGINT) as said:
        assert str(path) in said
        assert "token" not in said
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        transport = httpx.HTTPTransport(uds=str(path))
        with httpx.Client(transport=transport, base_url="http://localhost", timeout=LIMIT_S) as client:
            assert client.get("/").status_code == 401
            assert "read only" in client.get("/", headers={"X-User": "ann"}).text
    assert not path.exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--listen", "8700"], "is no address"),
        (["--listen", "127.0.0.1:0", "--user-header", "X-User"], "unix:PATH"),
        (["--listen", "127.0.0.1:0", "--prefix", "jobs"], "is no path"),
        (["--listen", "unix:/nowhere/at/all"], "cannot listen"),
        (["--url", "memory://"], "names no shared-memory segment"),
    ],
)
def test_what_cannot_be_is_told(capsys: pytest.CaptureFixture[str], words: list[str], says: str) -> None:
    assert main(["web", "--url", "shm://nowhere", *words]) == FAILED
    assert says in capsys.readouterr().err
