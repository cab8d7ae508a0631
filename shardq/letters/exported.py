"""Dead letters in a file: a line of JSON for each, with all that the letter holds. Its message is base64."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import msgspec

from shardq.deadletters import Buried, DeadLetter, parts_of
from shardq.errors import ConfigurationError


class _Line(msgspec.Struct, frozen=True):
    id: str
    letter: DeadLetter


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Line).decode


class Export:
    """A new file of letters that nobody but this user can read.

    Raises `ConfigurationError` where the file is there already, or cannot be made or written.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = -1

    def __enter__(self) -> Export:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._file = os.open(self.path, flags, 0o600)
        except FileExistsError:
            raise ConfigurationError(f"{self.path} exists already: give --export with the name of a new file") from None
        except OSError as error:
            raise self._refused(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def add(self, letters: Sequence[Buried]) -> None:
        """Write these letters. They are on the disk when this returns."""
        lines = b"".join(_encode(_Line(buried.id, buried.letter)) + b"\n" for buried in letters)
        try:
            while lines:
                lines = lines[os.write(self._file, lines) :]
            with suppress(OSError):  # of a file system that cannot
                os.fsync(self._file)
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(f"{self.path} cannot be written: {error.strerror}; give --export FILE")


def new_file_name() -> str:
    """A name for such a file that no other one has."""
    return f"shardq-dropped-{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}.jsonl"


def read_letters(path: str) -> Iterator[Buried]:
    """The letters of a file that `dead drop` wrote, as they were in their graves. Raises `ConfigurationError` where it
    cannot be read.
    """
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    found = _decode(line)
                except (msgspec.MsgspecError, ValueError) as error:
                    raise ConfigurationError(
                        f"line {number} of {path} is no dead letter as `dead drop` writes them: {error}"
                    ) from error
                yield Buried(*parts_of(found.id), found.letter)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
