"""How a program executes Python for `shardq.supervise`: its own interpreter, with its options and places for modules.

    python OPTIONS -P -c BOOT COUNT ENTRY ... ARGUMENT ...

The entries of `sys.path` stand on the command line and not in PYTHONPATH. The environment is inherited by everything
that handlers run, and another Python must not find the modules of this one; nor could an entry there have a colon in
it. What executes itself again by `sys.orig_argv` keeps all of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from shardq.errors import SupervisorError, shown

#: Set for the process that an application starts, which takes it away at once. Where it is still there, what was
#: started is no interpreter but the application once more.
MARK = "SHARDQ_STARTS_SUPERVISOR"

#: Looks for modules where the one who starts it does, then where this interpreter would by itself.
_BOOT = (
    "import sys; end = 2 + int(sys.argv[1]); given = sys.argv[2:end]; del sys.argv[1:end]; "
    "sys.path[:] = given + [entry for entry in sys.path if entry not in given]; "
    "from shardq.supervise import main; sys.exit(main())"
)

#: Options without a value, by their field in `sys.flags`. `-i` is left out: nobody sits in front of a supervisor.
_FLAGS = {
    "debug": "d",
    "dont_write_bytecode": "B",
    "no_site": "S",
    "verbose": "v",
    "bytes_warning": "b",
    "quiet": "q",
    "optimize": "O",
    "isolated": "I",
    "ignore_environment": "E",
    "no_user_site": "s",
}

_INSTEAD = (
    "run `python -m shardq.supervise MODULE --url shm://NAME` with an installed Python, and use "
    'shardq.connect("shm://NAME") here'
)


def command(arguments: Sequence[str]) -> list[str]:
    """What to execute for `shardq.supervise` with these arguments. Raises `SupervisorError` where this program has no
    interpreter that could be executed.
    """
    entries = _entries()
    return [_executable(), *_options(), "-P", "-c", _BOOT, str(len(entries)), *entries, *arguments]


def check_not_started_by_itself() -> None:
    """Raise `SupervisorError` where an application started itself in the belief that its executable is Python: it would
    do so without end.
    """
    if MARK in os.environ:
        raise SupervisorError(
            f"{shown(sys.executable)} is no Python interpreter but this very program, which started itself as its "
            f"supervisor: name an interpreter with multiprocessing.set_executable(), or {_INSTEAD}"
        )


def _executable() -> str:
    # The standard library's way to name another one; without multiprocessing nobody has named one.
    spawn = sys.modules.get("multiprocessing.spawn")
    path = os.fsdecode(spawn.get_executable() or "") if spawn else sys.executable
    if getattr(sys, "frozen", False) and path == sys.executable:
        raise SupervisorError(f"this program is frozen, so there is no Python to run workers with: {_INSTEAD}")
    if not path or not os.access(path, os.X_OK):
        raise SupervisorError(
            f"there is no Python to run workers with, sys.executable is {shown(path)}: name an interpreter with "
            f"multiprocessing.set_executable(), or {_INSTEAD}"
        )
    return path


def _options() -> list[str]:
    """Those that this interpreter was started with, but for what it takes from the environment by itself."""
    options = [f"-{letter * int(getattr(sys.flags, name))}" for name, letter in _FLAGS.items()]
    options = [option for option in options if len(option) > 1]
    if getattr(sys.__stdout__, "write_through", False):
        options.append("-u")
    for warning in dict.fromkeys(sys.warnoptions):
        options += ["-W", warning]
    for name, value in sys._xoptions.items():
        options += ["-X", name if value is True else f"{name}={value}"]
    return options


def _entries() -> list[str]:
    """Where this program looks for modules, and last the folder that it has this package from."""
    found = [_usable(entry) for entry in sys.path] + [str(Path(__file__).parents[3])]
    return list(dict.fromkeys(entry for entry in found if entry))


def _usable(entry: object) -> str | None:
    """The empty entry means the current folder. Where that is gone, neither it nor any other relative entry means
    anything, and Python cannot import with the latter. What cannot be an argument names no folder, and Python passes
    over it as well.
    """
    try:
        if not isinstance(entry, str) or "\0" in entry:
            return None
        os.fsencode(entry)
        if os.path.isabs(entry):
            return entry
        here = os.getcwd()
        return entry or here
    except (UnicodeEncodeError, OSError):
        return None
