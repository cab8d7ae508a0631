"""Files into which operators have requests written before these go."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

from shardq.errors import ConfigurationError, shown
from shardq.model import takes_requests

#: What a file system says that never puts anything on a disk. Others say by an error that the lines are lost.
_CANNOT_SYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EROFS)


class Export:
    """A new file that only this user can read.

    Raises `ConfigurationError` where the file is there already, or cannot be made or written.
    """

    def __init__(self, path: str, advice: str = "give --export with the name of a new file") -> None:
        """`advice`: what the user can do where it cannot be."""
        self.path = path
        self._advice = advice
        self._file = -1

    def __enter__(self) -> Export:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._file = os.open(self.path, flags, 0o600)
        except FileExistsError:
            raise ConfigurationError(f"{self.path} exists already: {self._advice}") from None
        except OSError as error:
            raise self._refused(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def add(self, lines: bytes) -> None:
        """Write these lines. They are on the disk when this returns. Where it raises, none of them is in the file."""
        begin = os.lseek(self._file, 0, os.SEEK_CUR)
        try:
            while lines:
                lines = lines[os.write(self._file, lines) :]
            self._put_on_disk()
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, begin)
            raise self._refused(error) from error

    def _put_on_disk(self) -> None:
        try:
            os.fsync(self._file)
        except OSError as error:
            if error.errno not in _CANNOT_SYNC:
                raise

    def _refused(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(f"{self.path} cannot be written: {error.strerror}; {self._advice}")


def check_takes_requests(pipe: str, number: int, path: str) -> None:
    """Raise `ConfigurationError` where a line of a file would have a request put where none belongs."""
    if not takes_requests(pipe):
        raise ConfigurationError(f"line {number} of {path} names {shown(pipe)}, which holds no requests of a handler")


def lines_of(path: str) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, with their numbers from 1 on. Raises `ConfigurationError` where it cannot be read."""
    try:
        with open(path, "rb") as file:
            yield from enumerate(file, 1)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}; give the file that `dead drop` or `later cancel` named"
        ) from error


def whole_path(path: str) -> str:
    """The path from the root on. Raises `ConfigurationError` where it begins in a directory that was removed."""
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        raise ConfigurationError(
            "the working directory is gone: give --export with the whole name of a new file"
        ) from None


def new_file_name(what: str) -> str:
    """The name of a file for requests that are about to be so."""
    return f"shardq-{what}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}.jsonl"
