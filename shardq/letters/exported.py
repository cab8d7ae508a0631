"""Dead letters in a file: a line of JSON for each, with all that the letter holds. Its message is base64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from shardq.deadletters import Buried, DeadLetter, parts_of
from shardq.errors import ConfigurationError
from shardq.exporting import check_takes_requests, lines_of


class _Line(msgspec.Struct, frozen=True):
    id: str
    letter: DeadLetter


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Line).decode


def lines(letters: Sequence[Buried]) -> bytes:
    """The letters as they stand in a file."""
    return b"".join(_encode(_Line(buried.id, buried.letter)) + b"\n" for buried in letters)


def read_letters(path: str) -> Iterator[Buried]:
    """The letters of a file that `dead drop` wrote, as they were in their graves. Raises `ConfigurationError` where it
    cannot be read.
    """
    for number, line in lines_of(path):
        try:
            found = _decode(line)
        except (msgspec.MsgspecError, ValueError) as error:
            raise ConfigurationError(
                f"line {number} of {path} is no dead letter as `dead drop` writes them: {error}"
            ) from error
        check_takes_requests(found.letter.pipe, number, path)
        yield Buried(*parts_of(found.id), found.letter)
