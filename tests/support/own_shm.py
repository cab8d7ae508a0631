"""Programs with a /dev/shm of their own, in name spaces of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import cache

import pytest

from tests.support.programs import ROOT

#: Mounts a /dev/shm with the options of the first argument, and becomes the program that the others name.
OWN_SHM = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o "$1" tmpfs /dev/shm && shift && exec "$@"', "sh")


@cache
def _why_not(*command: str) -> str:
    try:
        tried = subprocess.run((*command, "true"), capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return str(error)
    return tried.stderr.strip() if tried.returncode else ""


def needs(*command: str) -> None:
    """Skip the test where these commands, put before a program, do not work here."""
    if why := _why_not(*command):
        pytest.skip(f"{' '.join(command[:3])} does not work here: {why}")


def needs_mounts() -> None:
    """Skip the test where this process cannot have a /dev/shm of its own."""
    needs(*OWN_SHM, "size=1m")


def run(*command: str, shm: str = "size=64m") -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with a /dev/shm of its own that has these options."""
    return subprocess.run((*OWN_SHM, shm, *command), cwd=ROOT, capture_output=True, text=True, check=False)


def python(text: str, *arguments: object) -> tuple[str, ...]:
    """The command that runs this program text."""
    return (sys.executable, "-c", text, *map(str, arguments))


def shell(text: str, command: Sequence[str]) -> tuple[str, ...]:
    """The command that does this in a shell, and then becomes a program."""
    return ("sh", "-c", f'{text}\nexec "$@"', "sh", *command)
