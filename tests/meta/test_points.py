"""What storages on a server must show has numbers. Each is that of a test, or of a scenario where it is a rate."""

from __future__ import annotations

import re
from pathlib import Path

POINTS = 20


def test_each_point_has_a_test_or_a_scenario(root: Path) -> None:
    shown = set[int]()
    for path in root.glob("tests/*/test_*.py"):
        for numbers in re.findall(r"def test((?:_\d\d)+)_", path.read_text()):
            shown |= set(map(int, numbers.strip("_").split("_")))
    for path in root.glob("bench/scenarios/redis_*.py"):
        shown |= set(map(int, re.findall(r"[Pp]oint (\d+) of\s+what storages", path.read_text())))
    assert shown == set(range(1, POINTS + 1))
