"""A program that the fork server starts finds what it would find in an interpreter of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import leaks, python
from tests.support.programs import ROOT, clean_environment

#: Tells all that a program can find out about its start, as JSON.
PROBE = """
import gc, json, locale, os, resource, signal, subprocess, sys, threading, time, warnings

def stream(name):
    it, attributes = getattr(sys, name), ("name", "mode", "encoding", "errors", "line_buffering", "write_through")
    return [getattr(it, one) for one in attributes] + [
        it is getattr(sys, f"__{name}__"), repr(it.newlines), it.isatty(), repr(it.buffer)
    ]

def opened():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = [os.readlink(f"/proc/self/fd/{name}"), os.get_inheritable(int(name))]
        except OSError:
            pass
    return sorted(found.items())

status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "arguments": [sys.argv, sys.orig_argv, sys.executable, str(sys.flags), sys.warnoptions, sys._xoptions],
    "path": sys.path,
    "main": sorted(vars(sys.modules["__main__"])),
    "name": [__name__, __package__ if "__package__" in globals() else None, __spec__ and __spec__.name],
    "environment": dict(os.environ),
    "seen by native code": subprocess.check_output(["env"], text=True).splitlines(),
    "directory": os.getcwd(),
    "descriptors": opened()[3:],
    "streams": [stream(name) for name in ("stdin", "stdout", "stderr")],
    "signals": [status[name] for name in ("SigIgn", "SigCgt", "SigBlk", "ShdPnd")],
    "interrupted": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    "parent": [os.getppid(), os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid()],
    "threads": [threading.active_count(), threading.main_thread() is threading.current_thread(), status["Threads"]],
    "limits": [resource.getrlimit(getattr(resource, name)) for name in sorted(vars(resource)) if "RLIMIT" in name],
    "process": [status[name] for name in ("Uid", "Gid", "Umask", "Seccomp", "Cpus_allowed", "Name")],
    "nice": os.nice(0),
    "interpreter": [gc.isenabled(), gc.get_threshold(), sys.getrecursionlimit(), str(warnings.filters)],
    "place": [locale.setlocale(locale.LC_ALL), time.tzname],
}, default=repr))
"""


@pytest.fixture(scope="module", autouse=True)
def _quick_starts() -> Iterator[None]:
    with python.quick_starts():
        yield


def told(kind: type[subprocess.Popen[Any]], words: tuple[str, ...], **options: Any) -> Any:
    with kind((sys.executable, *words), stdout=subprocess.PIPE, **options) as program:
        assert program.stdout
        return json.loads(program.stdout.read())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL},
        {"start_new_session": True},
        {"process_group": 0},
        {"env": clean_environment() | {"TZ": "Asia/Tokyo", "PYTHONPATH": f"/no-such:{ROOT}"}},
        {"env": {name: os.environ[name] for name in os.environ if name.startswith(("PYTHON", "PATH", "L"))}},
    ],
    ids=["plain", "nowhere", "session", "group", "more variables", "fewer variables"],
)
@pytest.mark.parametrize("kind", ["module", "code", "code of a supervisor"])
def test_a_program_finds_what_an_interpreter_of_its_own_would_have(
    tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    (tmp_path / "probe.py").write_text(PROBE)
    words = ("-m", "probe", "one", "-two") if kind == "module" else ("-c", PROBE, "one", "-two")
    if kind == "code of a supervisor":
        words = (*python.supervisor_options(), *words)
    reading, writing = os.pipe()
    with open(reading), open(writing, "w"):
        # Named, because native code of this process may have added to what a program inherits.
        options = {"cwd": tmp_path, "pass_fds": (reading, writing), "env": dict(os.environ)} | options
        executed = told(subprocess.Popen, words, **options)
        forked = told(python.Program, words, **options)
    assert forked == executed


def test_it_starts_with_none_of_the_tests_modules_and_with_all_of_the_package_and_of_its_driver() -> None:
    code = "import json, sys; print(json.dumps(sorted(sys.modules)))"
    forked = set(told(python.Program, ("-c", code), cwd=ROOT))
    imports = "import shardq.supervise, shardq.cli, redis.asyncio"
    executed = set(told(subprocess.Popen, ("-c", f"{imports}; {code}"), cwd=ROOT))
    assert forked - executed <= {"runpy"}
    assert executed - forked == {"shardq.supervise"}


def test_two_programs_draw_different_numbers() -> None:
    words = ("-c", "import random, tempfile; print(random.random(), next(tempfile._get_candidate_names()))")
    one, other = (python.run((sys.executable, *words), capture_output=True, text=True).stdout for _ in range(2))
    assert one
    assert one != other


@pytest.mark.parametrize(
    "end",
    [
        "pass",
        "import sys; sys.exit(3)",
        "import sys; sys.exit('in words')",
        "raise ValueError('out of luck')",
        "import os; os._exit(4)",
        "import os; os.kill(os.getpid(), 9)",
        "import os, signal; os.kill(os.getpid(), signal.SIGINT)",
        "import atexit; atexit.register(print, 'the end')",
        "import threading, time; threading.Thread(target=lambda: (time.sleep(0.05), print('later'))).start()",
        "import threading, time; threading.Thread(target=time.sleep, args=(100,), daemon=True).start()",
        "print('unflushed', end='')",
        "import os; print('for no reader'); os.close(1)",
        "import sys; print('for a reader'); sys.stdout.close()",
        "class Last:\n    def __del__(self):\n        print('gone', Last)\nlast = Last()",
        "import os, sys\npid = os.fork()\nif not pid:\n    sys.exit(7)\nprint(os.waitpid(pid, 0)[1] >> 8)",
        "import atexit, sys; atexit.register(sys.exit, 5)",
        "import sys; print(sys.stdin.read().upper())",
    ],
)
def test_a_program_ends_as_it_would(end: str) -> None:
    words = (sys.executable, "-c", end)
    options: dict[str, Any] = {"capture_output": True, "text": True, "input": "words\n"}
    executed, forked = subprocess.run(words, check=False, **options), python.run(words, **options)
    assert (forked.returncode, forked.stdout) == (executed.returncode, executed.stdout)
    assert forked.stderr.splitlines()[-1:] == executed.stderr.splitlines()[-1:]


def test_a_program_is_a_child_of_the_process_that_started_it(tmp_path: Path) -> None:
    with python.Program[bytes]((sys.executable, "-c", "input()"), stdin=subprocess.PIPE) as program:
        descriptor = os.pidfd_open(program.pid)
        try:
            assert program.poll() is None
            program.send_signal(signal.SIGKILL)
            assert program.wait() == -signal.SIGKILL
        finally:
            os.close(descriptor)


def test_the_server_is_no_leak_and_hides_none() -> None:
    assert leaks.leaked_processes(limit_s=0) == []
    with python.Program[bytes]((sys.executable, "-c", "input()"), stdin=subprocess.PIPE) as program:
        [left] = leaks.leaked_processes(limit_s=0)
        assert left.startswith(f"{program.pid} ")


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (("-c", "pass"), {"env": dict(os.environ) | {"PYTHONFAULTHANDLER": "1"}}),
        (("-c", "pass"), {"preexec_fn": os.getpid}),
        (("-c", "pass"), {"umask": 0o077}),
        (("-B", "-c", "pass"), {}),
    ],
    ids=["environment", "before it", "umask", "option"],
)
def test_what_makes_a_difference_is_executed(words: tuple[str, ...], options: dict[str, Any], tmp_path: Path) -> None:
    look = "import sys; from pathlib import Path; print(Path('/proc/self/cmdline').read_text().split(chr(0))[1])"
    words = tuple(look if word == "pass" else word for word in words)
    assert python.run((sys.executable, *words), capture_output=True, text=True, **options).stdout.strip() == words[0]
