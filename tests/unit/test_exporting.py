"""Files into which requests are written before they go."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shardq.errors import ConfigurationError
from shardq.exporting import Export


@contextmanager
def files_of_at_most(nbytes: int) -> Iterator[None]:
    """As a disk that gets full."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    with Export(str(path)) as export:
        export.add(b"these went\n")
        with files_of_at_most(20), pytest.raises(ConfigurationError, match="File too large; give --export FILE"):
            export.add(b"these stay\nwhere they are\n")

    assert path.read_bytes() == b"these went\n"
