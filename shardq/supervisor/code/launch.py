"""How a program executes Python for `shardq.supervise`: its own interpreter, with its options and places for modules.

    python OPTIONS -P -c BOOT COUNT ENTRY ... ARGUMENT ...

The entries of `sys.path` stand on the command line and not in PYTHONPATH. Every program that a handler starts inherits
the environment, and another Python must not find the modules of this one. Nor could an entry of PYTHONPATH have a colon
in it. A supervisor that executes itself again by `sys.orig_argv` keeps all entries.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from shardq.errors import SupervisorError, shown

#: An application sets this variable for the supervisor process that it starts, and the supervisor removes it at once.
#: An application that finds it set was itself started in place of the supervisor: its executable is no interpreter.
MARK = "SHARDQ_STARTS_SUPERVISOR"

#: A supervisor and its executed workers find the URL of a server in this variable, because a list of processes shows a
#: command line, with the password. They remove it at once: no program that a handler starts inherits it.
SERVER_URL = "SHARDQ_SERVER_URL"

#: In the same way supervisors and executed workers get the key of the functions that they may call. Families of several
#: hosts are given the same one by their users.
FUNCTIONS_KEY = "SHARDQ_FUNCTIONS_KEY"

#: In the same way they get the `sys.argv` of the application that embeds them, as JSON: it may have had a secret there,
#: and taken it away.
APPLICATION_ARGV = "SHARDQ_APPLICATION_ARGV"

#: Looks for modules first where the program that executes it does, then where this interpreter would by itself. Until
#: `main` runs it collects no garbage: these imports leave none, and looking for it takes a twentieth of their time.
_BOOT = (
    "import gc, sys; gc.disable(); end = 2 + int(sys.argv[1]); given = sys.argv[2:end]; del sys.argv[1:end]; "
    "sys.path[:] = given + [entry for entry in sys.path if entry not in given]; "
    "from {module} import main; sys.exit(main())"
)

#: Bytes that the text of a variable can have: with its name 32 pages, the end included (MAX_ARG_STRLEN).
_LONGEST_TEXT = (128 << 10) - len(f"{APPLICATION_ARGV}=") - 1

#: Options without a value, by their field in `sys.flags`. `-i` is left out: a supervisor has no user at a prompt.
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


def command(arguments: Sequence[str], module: str = "shardq.supervise") -> list[str]:
    """The command that runs `main` of this module with these arguments. Raises `SupervisorError` where this program has
    no interpreter that could be executed.
    """
    entries = _entries()
    return [
        _executable(),
        *_options(),
        "-P",
        "-c",
        _BOOT.format(module=module),
        str(len(entries)),
        *entries,
        *arguments,
    ]


def own_argv() -> dict[str, str]:
    """The variable by which a supervisor and its workers have the `sys.argv` of this application: its modules and its
    script may read that while they are imported. Nothing where it is longer than a variable can be.
    """
    words = sys.argv if all(isinstance(word, str) for word in sys.argv) else []
    text = json.dumps(words)
    return {APPLICATION_ARGV: text} if words and len(text) <= _LONGEST_TEXT else {}


def check_not_started_by_itself() -> None:
    """Raise `SupervisorError` where an application took its own executable for Python, and so started itself in place
    of a supervisor. It would do so again and again.
    """
    if MARK in os.environ:
        raise SupervisorError(
            f"{shown(sys.executable)} is no Python interpreter but this very program, which started itself as its "
            f"supervisor: name an interpreter with multiprocessing.set_executable(), or {_INSTEAD}"
        )


def _executable() -> str:
    # `multiprocessing.set_executable` names another one. Where multiprocessing is not imported, none was named.
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
    """The options that this interpreter was started with, without those that Python reads from the environment."""
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
    """Where this program looks for modules; last comes the folder that this package was imported from."""
    found = [_usable(entry) for entry in sys.path] + [str(Path(__file__).parents[3])]
    return list(dict.fromkeys(entry for entry in found if entry))


def _usable(entry: object) -> str | None:
    """The entry if it can be used, an empty one as the current folder. Where the current folder is gone, empty and
    relative entries mean nothing, and Python cannot import with a relative one. An entry that cannot be an argument of
    a command names no folder, and Python passes over it as well.
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
