"""Modules that configure logs for themselves, or say that SIGPIPE is to end them: what shardq says is heard."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from typing import Self

import msgspec
import pytest

from shardq.supervisor.exits import Exit
from tests.support import python
from tests.support.jobs import Doomed, Folder, Record
from tests.support.programs import ROOT, until
from tests.support.segments import files_of
from tests.support.supervised import Start, client, forget_dead, until_dead
from tests.support.tasks import LIMIT_S

JOBS = Record.__module__
CONFIGURED = {
    "dictConfig": "logging.config.dictConfig({'version': 1})",
    "dictConfig-with-root": (
        "logging.config.dictConfig({'version': 1, 'root': {'level': 'CRITICAL', 'handlers': ['h']},"
        " 'handlers': {'h': {'class': 'logging.StreamHandler', 'stream': 'ext://sys.stderr'}}})"
    ),
    "fileConfig": (
        "logging.config.fileConfig(io.StringIO('[loggers]\\nkeys=root\\n[handlers]\\nkeys=\\n[formatters]\\nkeys=\\n'"
        " '[logger_root]\\nhandlers=\\n'))"
    ),
    "disable": "logging.disable(logging.CRITICAL)",
    "no-handlers": "logging.root.handlers.clear()",
    "root-level": "logging.root.setLevel(logging.CRITICAL)",
    "each-logger": "[setattr(logger, 'disabled', True) for logger in list(loggers())]",
}
MODULE = f"""
import io, logging, logging.config
from {JOBS} import Doomed, Record, Note
loggers = logging.root.manager.loggerDict.values
def configure():
    {{text}}
class Configuring(Record):
    def start(self):
        configure()
if {{at_import}}:
    configure()
"""


def module_of(text: str, folder: Folder, *, at_import: bool = True) -> str:
    module = f"jobs_{secrets.token_hex(6)}"
    (folder.path / f"{module}.py").write_text(MODULE.format(text=text, at_import=at_import))
    return module


@pytest.mark.parametrize("text", CONFIGURED.values(), ids=CONFIGURED)
def test_a_module_that_configures_logs_does_not_silence_errors(
    text: str, start: Start, url: str, name: str, folder: Folder
) -> None:
    module = module_of(text, folder)
    environment = {"PYTHONPATH": f"{folder.path}:{ROOT}"}
    program = start(module, "--url", url, "--workers", 1, environment=environment)
    program.hear("serving")  # in whatever format the module chose
    with client(url) as queue:
        queue.register_sync(Doomed, *folder.notes([0]))
        until_dead(queue, 1)
        forget_dead(queue)
    program.hear("request became a dead letter")
    [pid] = program.workers(1)
    program.signal(signal.SIGHUP)
    program.hear("replacing worker")

    assert program.stop() == Exit.OK
    assert pid
    assert files_of(name) == set()


def test_a_handler_that_configures_logs_when_it_starts_does_not_silence_its_worker(
    start: Start, url: str, name: str, folder: Folder
) -> None:
    module = module_of(CONFIGURED["dictConfig"], folder, at_import=False)
    environment = {"PYTHONPATH": f"{folder.path}:{ROOT}"}
    program = start(module, "--url", url, "--workers", 1, environment=environment).serving()
    with client(url) as queue:
        [note] = folder.notes([0])
        asyncio.run(queue.storage.append([(f"{module}/Configuring/0/0", [msgspec.msgpack.encode(note)])]))
        folder.until("done", 0)
        queue.register_sync(Doomed, *folder.notes([1]))
        until_dead(queue, 1)
        forget_dead(queue)
    program.hear("request became a dead letter")

    assert program.stop() == Exit.OK
    assert files_of(name) == set()


def test_an_application_that_names_shardqs_logger_decides(start: Start, url: str, name: str, folder: Folder) -> None:
    text = "logging.config.dictConfig({'version': 1, 'loggers': {'shardq': {'level': 'CRITICAL'}}})"
    environment = {"PYTHONPATH": f"{folder.path}:{ROOT}"}
    program = start(module_of(text, folder), "--url", url, "--workers", 1, environment=environment)
    until(lambda: bool(files_of(name)) and bool(program.workers(1)), "it serves")
    with client(url) as queue:
        queue.register_sync(Doomed, *folder.notes([0]))
        until_dead(queue, 1)
        forget_dead(queue)

    assert program.stop() == Exit.OK
    assert program.heard == ""
    assert files_of(name) == set()


#: Waits in the supervisor that was executed anew, before it hears any bell.
RESUMING = f"""
import pathlib, sys
here = pathlib.Path(__file__).parent
if "--resume" in sys.argv:
    (here / "resuming").touch()
    (here / "gate").read_bytes()
from {JOBS} import Record
"""
PRODUCING = f"""
import signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
import asyncio
from shardq import connect
from {JOBS} import Note, Record
queue = asyncio.run(connect(sys.argv[1]))
for line in sys.stdin:
    queue.register_sync(Record, Note(sys.argv[2], int(line)), defer=int(line))
    print(line, end="", flush=True)
asyncio.run(queue.close())
"""


def test_a_producer_that_sigpipe_would_end_outlives_a_reload(start: Start, url: str, folder: Folder) -> None:
    module = f"jobs_{secrets.token_hex(6)}"
    (folder.path / f"{module}.py").write_text(RESUMING)
    os.mkfifo(folder.path / "gate")
    environment = {"PYTHONPATH": f"{folder.path}:{ROOT}"}
    program = start(module, "--url", url, "--workers", 1, environment=environment).serving()
    with Producer(url, folder) as producer:
        producer.defer(3000)
        program.signal(signal.SIGHUP)
        until((folder.path / "resuming").exists, "the supervisor is executed anew")
        for defer_s in (2000, 1000, 500):  # each is due before all others, of which its supervisor is told
            producer.defer(defer_s)
        (folder.path / "gate").write_bytes(b"")
        program.hear("reloaded")
        producer.defer(100)

    assert producer.exit_code == 0
    assert program.stop() == Exit.OK
    program.hear("5 deferred requests stay")


class Producer:
    """A process that registers requests for later, for which SIGPIPE has its default effect."""

    def __init__(self, url: str, folder: Folder) -> None:
        self._command = (sys.executable, "-c", PRODUCING, url, str(folder.path))
        self.exit_code: int | None = None

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = python.Program(self._command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, bufsize=1)
        return self

    def defer(self, seconds: int) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{seconds}\n")
        assert self._process.stdout.readline() == f"{seconds}\n", self._process.wait(LIMIT_S)

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=LIMIT_S)
        self.exit_code = self._process.returncode
