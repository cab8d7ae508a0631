"""Files into which requests are written before they go."""

from __future__ import annotations

import errno
import os
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
        with files_of_at_most(20), pytest.raises(ConfigurationError, match="File too large; give --export"):
            export.add(b"these stay\nwhere they are\n")

    assert path.read_bytes() == b"these went\n"


@pytest.mark.parametrize(("code", "is_written"), [(errno.EINVAL, True), (errno.ENOSPC, False), (errno.EIO, False)])
def test_what_is_not_on_the_disk_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, *, is_written: bool
) -> None:
    def refuses(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuses)
    with Export(str(tmp_path / "requests.jsonl")) as export:
        if is_written:
            export.add(b"lines\n")
            return
        with pytest.raises(ConfigurationError, match="cannot be written"):
            export.add(b"lines\n")
