"""A contestant of the benchmarks that never ends, and has a child that never ends."""

from __future__ import annotations

import os
import subprocess
import time

from bench.harness.size import Size

#: What it writes once its child is there.
BEGUN = b"begun"


def hang(size: Size, *, fifo: str) -> None:
    writing = os.open(fifo, os.O_WRONLY)
    subprocess.Popen(("sleep", "3600"), pass_fds=(writing,))
    os.write(writing, BEGUN)
    time.sleep(3600)
