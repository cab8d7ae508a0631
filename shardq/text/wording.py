"""Words for people: numbers with their nouns, and nouns with their articles."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """`1 process`, `2,000 processes`: a number with its noun, whose plural has an s where none is given."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def with_article(noun: str) -> str:
    """`a str`, `an int`: the article follows from the first letter, which is right for the names of types."""
    return f"{'an' if noun[:1] in set('aeioAEIO') else 'a'} {noun}"


def how_far(done: float, total: float | None, note: str) -> str:
    """`30/120 25% b.png`: what a handler says of its batch."""
    of = "" if total is None else f"/{_figure(total)}"
    share = f" {done / total:.0%}" if total else ""
    return f"{_figure(done)}{of}{share} {note}".rstrip()


def duration(seconds: float) -> str:
    """`1:02:03`, `2:03`, or `3.2 s` for less than a minute."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _figure(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:,.2f}"
