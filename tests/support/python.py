"""Python programs as tests start them, and their quick start.

`Program` and `run` take what `subprocess.Popen` and `subprocess.run` take. They have the program forked by a server
that has imported the package, where a program cannot tell that from an interpreter of its own. All others are executed:
those with other options for Python than `-u` and `-P` or another command before it, on a terminal, with `preexec_fn`,
or with an environment that an interpreter reads when it starts. Tests whose subject is the start itself use
`subprocess`.

So is the supervisor that a test embeds in the process that runs the tests. An application that is a program of its own
executes its supervisor.
"""

from __future__ import annotations

import inspect
import marshal
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from threading import Lock
from types import ModuleType
from typing import Any, AnyStr

from shardq.serving import keeper
from shardq.supervisor.code import launch
from tests.support import fork_server, leaks
from tests.support.tasks import LIMIT_S

#: Variables that an interpreter, or the C library below it, reads when it starts.
_READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "GLIBC_")

#: Options for Python that make no difference to a program whose server has them too.
_OPTIONS = ("-u", "-P")
#: The server knows no others for these parameters of `Popen`.
_DEFAULTS: dict[str, object] = dict.fromkeys(("executable", "preexec_fn", "uid", "gid", "gids"))
_DEFAULTS |= {"close_fds": True, "restore_signals": True, "shell": False, "umask": -1}


class Program(subprocess.Popen[AnyStr]):
    """A program, forked by the server if there is one and that makes no difference."""

    def _execute_child(self, *given: Any) -> None:
        """All that is different is how the process comes to be, once `Popen` has opened the pipes."""
        parameters = inspect.signature(super()._execute_child).bind(*given).arguments  # type: ignore[misc]
        server = _server_for(parameters["args"])
        if not (server and server.can_start(parameters)):
            super()._execute_child(*given)  # type: ignore[misc]
            return
        self.pid = server.start(parameters)
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(parameters[name] for name in pipes))  # type: ignore[attr-defined]


def run(
    words: tuple[Any, ...],
    *,
    timeout: float = LIMIT_S,
    check: bool = False,
    capture_output: bool = False,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """Run a program to its end."""
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    given = options.pop("input", None)
    if given is not None:
        options["stdin"] = subprocess.PIPE
    with Program[Any](words, **options) as program:
        try:
            out, errors = program.communicate(given, timeout)
        except BaseException:
            program.kill()
            raise
    done = subprocess.CompletedProcess(words, program.returncode, out, errors)
    if check:
        done.check_returncode()
    return done


@contextmanager
def quick_starts() -> Iterator[None]:
    """Have programs forked as long as this is entered."""
    global _servers
    former, _servers = (_servers, keeper.subprocess), _servers_now()  # type: ignore[attr-defined]
    quick = ModuleType(subprocess.__name__)
    vars(quick).update(vars(subprocess), Popen=Program)
    keeper.subprocess = quick  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for server in _servers.values():
            server.close()
            leaks.lasting.remove(server.pid)
        _servers, keeper.subprocess = former  # type: ignore[attr-defined]


@contextmanager
def executed_starts() -> Iterator[None]:
    """Have all programs executed as long as this is entered: for what others see of them, as their command lines."""
    global _servers
    former, _servers = _servers, {}
    try:
        yield
    finally:
        _servers = former


def _servers_now() -> dict[tuple[str, ...], _Server]:
    """Servers for programs without options, and for those that have the options of an embedded supervisor. They are
    started before any test changes what they would inherit of this process.
    """
    servers = {options: _Server(options) for options in {(), supervisor_options()}}
    leaks.lasting.update(server.pid for server in servers.values())
    return servers


def supervisor_options() -> tuple[str, ...]:
    """The options for Python of a supervisor that this process embeds."""
    return tuple(takewhile(_OPTIONS.__contains__, launch.command(())[1:]))


def _server_for(words: Sequence[Any]) -> _Server | None:
    """The server that may start this program: it was started with the same options."""
    options = tuple(takewhile(_OPTIONS.__contains__, words[1:]))
    runs_python = words[0] == sys.executable and words[1 + len(options)] in ("-m", "-c")
    return _servers.get(options) if runs_python else None


class _Server:
    """The process that forks programs, as seen from the tests."""

    def __init__(self, options: Sequence[str]) -> None:
        # Of packets: nothing in a process that tests fork takes it for a connection.
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._requests.settimeout(LIMIT_S)
        self._one_at_a_time = Lock()
        self._owner = os.getpid()
        self._options = options
        self._started_with = _read_at_start(os.environ)
        with theirs:
            command = (sys.executable, *options, fork_server.__file__, str(theirs.fileno()))
            self._process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)

    @property
    def pid(self) -> int:
        return self._process.pid

    def can_start(self, parameters: Mapping[str, Any]) -> bool:
        """Whether it starts this program as it would start if it were executed."""
        environment = os.environ if parameters["env"] is None else parameters["env"]
        return (
            os.getpid() == self._owner  # and not a fork of it: the program would be no child of that
            and all(parameters[name] == value for name, value in _DEFAULTS.items())
            and _read_at_start(environment) == self._started_with
            and not any(map(os.isatty, _streams(parameters)))
        )

    def start(self, parameters: Mapping[str, Any]) -> int:
        """Start the program, and return its process id once it is a child of this process."""
        group = parameters["process_group"]
        passed = {number: number for number in parameters["pass_fds"]}
        descriptors = dict(enumerate(_streams(parameters))) | passed
        order = {
            "words": [os.fsdecode(word) for word in parameters["args"][1 + len(self._options) :]],
            "directory": os.path.abspath(parameters["cwd"] or "."),
            "environment": dict(os.environ if parameters["env"] is None else parameters["env"]),
            "numbers": list(descriptors),
            "group": None if group < 0 else group,
            "new_session": parameters["start_new_session"],
        }
        with self._one_at_a_time:
            socket.send_fds(self._requests, [marshal.dumps(order)], list(descriptors.values()))
            return int(self._requests.recv(fork_server.MESSAGE_BYTES))

    def close(self) -> None:
        self._requests.close()
        self._process.wait(LIMIT_S)


_servers: dict[tuple[str, ...], _Server] = {}
"""By the options of the programs that they start."""


def _streams(parameters: Mapping[str, Any]) -> list[int]:
    """The descriptors that are to be its standard input, output and error."""
    own = (parameters["p2cread"], parameters["c2pwrite"], parameters["errwrite"])
    return [number if descriptor < 0 else descriptor for number, descriptor in enumerate(own)]


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """Those variables, without the one that the server reads for each program."""
    names = [name for name in environment if name.startswith(_READ_AT_START) and name != "PYTHONPATH"]
    return {name: environment[name] for name in names}
