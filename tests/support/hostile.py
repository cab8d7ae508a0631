"""Texts that act upon a terminal, or forge what it shows."""

from __future__ import annotations

from typing import NamedTuple

from shardq import Handler, Retry

#: Each with what a terminal would make of it.
HOSTILE = {
    "C0": "".join(chr(code) for code in range(32) if chr(code) not in "\n\t") + "\x7f",
    "C1": "".join(chr(code) for code in range(0x80, 0xA0)),
    "colour": "\x1b[31mred\x1b[0m\x9b1m",
    "clears the screen": "\x1b[2J\x1b[H\x1bc",
    "title and clipboard": "\x1b]0;title\x07\x1b]52;c;cm0gLXJm\x07\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "back and over": "fine\rbad\b\b\b\x1b[1A\x1b[K",
    "right to left": "\u202egnp.exe\u202c \u2066a\u2069 \u200e\u200f\u061c",
    "no width": "a\u200bb\u200cc\u200dd\u2060e\ufefff\u00adg",
    "separators": "one\u2028two\u2029three\x85four\x0bfive\x0csix",
    "tags": "\U000e0041\U000e0042\ufff9",
    "another line": "innocent\nforged line",
}
ALL = " ".join(HOSTILE.values())
#: Short enough for the name of a tube.
NAME = "\x1b[31m\x9b0m\x07 \u202egnp.exe\u2066 \u200b\u2028\x85\x7f\r\b\t\nforged line"


def acting(text: str) -> list[str]:
    """The characters of an output that a terminal acts upon, and lines that were forged."""
    forged = [line for line in text.splitlines() if line.startswith("forged line")]
    return [one for one in text if not (one.isprintable() or one in "\n\t")] + forged


class Text(NamedTuple):
    text: str


class Speaks(Handler[Text]):
    """Raises, prints and returns what it is given."""

    retry = Retry(max_attempts=1)

    def perform(self, *texts: Text) -> list[str]:
        print(ALL)
        raise ValueError(ALL)


class Echoes(Handler[Text, str]):
    def perform(self, *texts: Text) -> list[str]:
        return [text.text for text in texts]
