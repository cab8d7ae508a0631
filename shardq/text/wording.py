"""Words for people: numbers with their nouns, and nouns with their articles."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """`1 process`, `2,000 processes`: a number with its noun, whose plural has an s where none is given."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def with_article(noun: str) -> str:
    """`a str`, `an int`: the article follows from the first letter, which is right for the names of types."""
    return f"{'an' if noun[:1] in set('aeioAEIO') else 'a'} {noun}"
