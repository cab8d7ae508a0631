"""Command lines whose refusals say what may have been meant, and where the help is."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from shardq.text.printable import printable

#: What argparse says of a word that is none of those that may stand there, and what a parser says of options that it
#: does not know.
_NO_CHOICE = re.compile(r"invalid choice: (['\"])(?P<word>.*?)\1")
_UNKNOWN = "unrecognized arguments: "
#: What else may have been meant by a word that is no command.
_ELSEWHERE = {"supervise": "a family is started by `python -m shardq.supervise MODULE`."}


class Parser(argparse.ArgumentParser):
    """Its refusals repeat the arguments without their control characters."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does it, but an option that a command does not know is refused with the usage of that command."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(_UNKNOWN + " ".join(unknown))
        return found, unknown

    def error(self, message: str) -> NoReturn:
        hints = " ".join([*self._hints(message), f"`{self.prog} --help` says what there is"])
        super().error(printable(f"{message}; {hints}"))

    def _hints(self, message: str) -> Iterator[str]:
        """What to do about it, as far as that can be guessed."""
        if found := _NO_CHOICE.search(message):
            word = found["word"]
            if word in _ELSEWHERE:
                yield _ELSEWHERE[word]
            else:
                yield from _meant(word, [str(its) for action in self._actions for its in action.choices or ()])
        elif message.startswith(_UNKNOWN):
            shown = [action for action in self._actions if action.help != argparse.SUPPRESS]
            known = [option for action in shown for option in action.option_strings]
            for word in message.removeprefix(_UNKNOWN).split():
                yield from _meant(word.partition("=")[0], known) if word.startswith("-") else ()


def _meant(word: str, known: list[str]) -> Iterator[str]:
    from difflib import get_close_matches  # most commands do without it

    yield from (f"did you mean {found}?" for found in get_close_matches(word, known, n=1))
