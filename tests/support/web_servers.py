"""Web applications under the servers that run them, on a socket that listens from the start: no request is refused."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.programs import ROOT
from tests.support.tasks import LIMIT_S


class Server:
    """A server, and a client of its own. Each request is a new connection, which any of the web workers may take."""

    def __init__(self, process: subprocess.Popen[bytes], client: Any) -> None:
        self._process = process
        self.client = client

    def get(self, path: str) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, content: Any) -> Any:
        """The whole answer, which may be a refusal."""
        return self.client.post(path, json=content)

    def kill(self) -> None:
        """Kill what is left of it, in whatever state the test left it."""
        with suppress(psutil.NoSuchProcess):
            for process in self.processes():
                process.kill()
        self._process.kill()

    def processes(self) -> list[psutil.Process]:
        return psutil.Process(self._process.pid).children(recursive=True)


@contextmanager
def uvicorn(application: str, *options: str) -> Iterator[Server]:
    pytest.importorskip("uvicorn")
    with (
        _listening() as listening,
        _served(
            listening, ("uvicorn", application, "--log-level", "warning", "--fd", str(listening.fileno()), *options)
        ) as server,
    ):
        yield server


@contextmanager
def gunicorn(application: str, *options: str, home: Path) -> Iterator[Server]:
    """`home`: where it keeps files of its own."""
    pytest.importorskip("gunicorn")
    with (
        _listening() as listening,
        _served(
            listening,
            ("gunicorn", application, "--log-level", "warning", "--bind", f"fd://{listening.fileno()}", *options),
            {"HOME": str(home)},
        ) as server,
    ):
        yield server


@contextmanager
def _listening() -> Iterator[socket.socket]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening


@contextmanager
def _served(
    listening: socket.socket, words: tuple[str, ...], environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    httpx = pytest.importorskip("httpx")
    process = subprocess.Popen(
        (sys.executable, "-m", *words),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | dict(environment or {}),
        pass_fds=(listening.fileno(),),
    )
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    listening.close()
    with process, httpx.Client(base_url=address, timeout=LIMIT_S, headers={"Connection": "close"}) as client:
        server = Server(process, client)
        try:
            yield server
            process.send_signal(signal.SIGTERM)
            process.wait(LIMIT_S)
        finally:
            server.kill()
