"""The census as a user runs it: a launcher, a supervisor and workers over shared memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from examples.census.handlers import JSON_NAME, TEXT_NAME
from examples.census.table import as_text, from_json, total

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 60


def test_the_census_equals_the_plain_loop_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.census", "--limit", str(LIMIT), "--workers", "2"]
    launcher = subprocess.Popen(
        [*command, "--out", str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        printed, complaints = launcher.communicate(timeout=90)
    except BaseException:
        launcher.terminate()
        launcher.communicate()
        raise

    assert launcher.returncode == 0, printed + complaints
    assert "the two tables are equal" in printed
    assert "stay" not in complaints
    table = from_json((tmp_path / JSON_NAME).read_text(encoding="utf-8"))
    assert total(table).files == LIMIT
    assert (tmp_path / TEXT_NAME).read_text(encoding="utf-8") == as_text(table)
    assert as_text(table).splitlines()[0] in printed
    assert as_text(table).splitlines()[-1] in printed
    # The launcher's process id is in the name of its segment and of everything beside it.
    assert [name for name in os.listdir("/dev/shm") if f"census-{launcher.pid}" in name] == []
