"""Without the packages of the extra `redis` a URL of a server says what to install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shardq import cli
from shardq.supervisor.exits import Exit

ASKED = """
import asyncio, sys
sys.modules[sys.argv[1]] = None  # as where it is not installed
from shardq import cli, connect, supervise
from shardq.errors import ShardqError
URL = "redis://user:secret@localhost:1/0"
try:
    asyncio.run(connect(URL))
except ShardqError as error:
    print(error, file=sys.stderr)
print(cli.main(["status", "--url", URL]), supervise.main(["tests.support.jobs", "--url", URL]))
"""


@pytest.mark.parametrize("package", ["redis", "hiredis"])
def test_what_is_not_installed_is_named(package: str, root: Path) -> None:
    done = subprocess.run((sys.executable, "-c", ASKED, package), cwd=root, capture_output=True, text=True)

    assert done.stdout.split() == [str(cli.FAILED), str(Exit.USAGE.value)], done.stderr
    said = done.stderr.splitlines()
    assert len(said) == 3, said
    assert all(f"{package}, which is not installed: pip install 'shardq[redis]'" in line for line in said)
    assert "secret" not in done.stderr
