"""Signatures are read, whether all names in annotations resolve or not."""

from __future__ import annotations

import sys

import pytest

from shardq.annotations import annotated_names, signature

#: Before 3.14 Python resolves what it does not keep as text where the function is defined.
AS_TEXT = "from __future__ import annotations\n"
WAYS = [
    pytest.param(AS_TEXT, id="as text"),
    pytest.param("", id="made when asked", marks=pytest.mark.skipif(sys.version_info < (3, 14), reason="PEP 649")),
]
SOURCE = """
class Point:
    x: int
    y: Missing

class Wide(Point):
    z: Missing.Too

def moved(point: Missing, by: int = 1) -> Missing: ...
"""


@pytest.fixture(params=WAYS)
def names(request: pytest.FixtureRequest) -> dict[str, object]:
    defined: dict[str, object] = {"__name__": "defined"}
    exec(compile(request.param + SOURCE, "defined.py", "exec", dont_inherit=True), defined)
    return defined


def test_a_signature_is_read(names: dict[str, object]) -> None:
    moved = names["moved"]
    assert callable(moved)

    signature(moved).bind(1)
    signature(moved).bind(1, by=2)
    with pytest.raises(TypeError, match="missing a required argument: 'point'"):
        signature(moved).bind()


def test_a_class_has_its_own_annotated_names(names: dict[str, object]) -> None:
    point, wide = names["Point"], names["Wide"]
    assert isinstance(point, type)
    assert isinstance(wide, type)

    assert (annotated_names(point), annotated_names(wide)) == (["x", "y"], ["z"])
