"""Where shared memory cannot work, it is refused at once, with the reason."""

from __future__ import annotations

import subprocess
import sys

import pytest

CONNECT = "import asyncio, shardq; asyncio.run(shardq.connect('shm://nowhere'))"


@pytest.mark.parametrize(
    ("elsewhere", "refusal"),
    [
        ("import sys; sys.platform = 'darwin'", "shared memory needs Linux, this is darwin: use memory://"),
        (
            "import mmap; mmap.PAGESIZE = 65536",
            "shared memory needs pages of 4096 bytes, and those of this kernel have 65536",
        ),
    ],
)
def test_a_system_without_what_shared_memory_needs_is_told_so(elsewhere: str, refusal: str) -> None:
    code = f"import asyncio; {elsewhere}; {CONNECT}"
    ran = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, timeout=60, check=False)
    last = ran.stderr.splitlines()[-1]
    assert last.startswith(f"shardq.errors.PlatformUnsupported: {refusal}")
