"""The text in which monitoring reads metrics: the text format of Prometheus, version 0.0.4."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from shardq.metrics.families import FAMILIES, Distribution, Family
from shardq.metrics.looks import Look, Looks
from shardq.text.printable import printable

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


async def exposed(url: str) -> str:
    """All metrics of the storage that `url` names, as `shardq.observe` takes it, as text. Raises as that does, and as
    its looks do.
    """
    return text_of(await Looks(url).look())


def text_of(look: Look) -> str:
    """All metrics of a look."""
    return "".join(line for family in FAMILIES for line in _lines(family, look))


def _lines(family: Family, look: Look) -> Iterator[str]:
    yield f"# HELP {family.name} {family.text}\n# TYPE {family.name} {family.kind}\n"
    for found in family.read(look):
        labels = _labels(family.labels, found.labels)
        if not isinstance(found, Distribution):
            yield f"{family.name}{_braced(labels)} {number(found.value)}\n"
            continue
        for bound, count in found.buckets:
            within = [*labels, *_labels(("le",), (number(bound),))]
            yield f"{family.name}_bucket{_braced(within)} {count}\n"
        yield f"{family.name}_sum{_braced(labels)} {number(found.total)}\n"
        yield f"{family.name}_count{_braced(labels)} {found.buckets[-1][1]}\n"


def number(value: float) -> str:
    """A number as the format has it."""
    return "+Inf" if value == math.inf else repr(value)


def _labels(names: Sequence[str], values: Sequence[str]) -> list[str]:
    return [f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)]


def _escaped(value: str) -> str:
    """The value of a label. A character that is not simply visible is written as Python does, whatever the text is
    written to: standard output would escape it later, in a way that the format does not have.
    """
    return printable(value, keep="\n").translate(_ESCAPES)


def _braced(labels: Sequence[str]) -> str:
    return f"{{{','.join(labels)}}}" if labels else ""
