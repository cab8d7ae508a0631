"""The examples beside the census, run as their docstrings say."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tests.support.programs import ROOT
from tests.support.tasks import LIMIT_S


def ran(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, *map(str, words)),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def test_the_script_prints_the_checksum_of_every_file(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for number in range(200):
        (tmp_path / "below" / f"{number}").write_bytes(b"x" * number)
    done = ran("examples/script.py", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == sorted(
        f"{hashlib.sha256(b'x' * number).hexdigest()}  {tmp_path / 'below' / str(number)}" for number in range(200)
    )


def test_the_notebook_runs_from_the_first_cell_to_the_last() -> None:
    done = ran("-m", "examples.notebook")
    assert (done.returncode, done.stderr) == (0, "")
    sums, zeros, refusal = done.stdout.splitlines()
    assert sums == "[14850, 14950, 15050]"
    assert zeros == "[0, 0, 0] [200, 200, 200]"
    assert refusal.startswith("HandlerError: Typed is defined in an interactive session")
