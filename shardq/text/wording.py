"""Words for people, with numbers in them."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """`1 process`, `2,000 processes`: a number with its noun, whose plural has an s where none is given."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
