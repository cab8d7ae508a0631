"""A family under SIGKILL, some of it in C and some in Python: no request is lost, doubled or reordered, and none waits
for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from tests.faults.conftest import CORE_KILLS
from tests.faults.kit.core_history import Fact, Message, Storm
from tests.faults.kit.core_storm import storm
from tests.support.engines import needs_c
from tests.support.lean import LeanProcess

PIPES = ("one", "two")


@needs_c
@pytest.mark.timeout(120 + CORE_KILLS / 2)
def test_nothing_is_lost_doubled_or_reordered_where_some_are_in_c_and_some_in_python(
    lean: LeanProcess, random: Random, tried: Callable[[str, int], None]
) -> None:
    done = lean.call(storm, CORE_KILLS, str(random.random()))
    assert done["kills"] >= CORE_KILLS
    tried("kills of mixed processes", done["kills"])
    tried("of these inside the guard", sum(count for what, count in done.items() if what.endswith("inside the guard")))
    tried("messages of mixed processes", done["messages"])


def given(at_ns: int, who: str, number: int, *places: int, pipe: str = "one") -> Fact:
    """Messages of one producer, each of a call of its own."""
    messages = [Message("p", place, 1, place).encoded().decode() for place in places]
    return Fact(at_ns, who, "given", [pipe, str(number), *messages])


def done(at_ns: int, who: str, through: int) -> Fact:
    return Fact(at_ns, who, "done", ["one", str(through)])


GOOD = [given(1, "dead", 0, 0, 1), given(2, "w", 0, 0, 1), done(3, "w", 2), given(4, "w", 2, 2)]


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        (GOOD, ""),
        ([*GOOD, Fact(0, "p", "accepted", ["2"])], ""),
        ([*GOOD, given(5, "w", 1, 1)], "1 came again"),
        ([given(1, "w", 0, 0), given(2, "v", 0, 0)], "0 of w went to v"),
        ([given(1, "dead", 0, 0), given(2, "v", 0, 1)], "0 was"),
        ([given(1, "w", 0, 0), given(2, "w", 2, 1)], "numbers are missing"),
        ([given(1, "w", 0, 1, 0)], "after 0 of its producer"),
        ([given(1, "w", 0, 0, 0)], "after 1 of its producer"),
        ([*GOOD, Fact(0, "p", "accepted", ["3"])], "never handled"),
        ([Fact(1, "w", "given", ["one", "0", "p/0/2/0"])], "in some of their tubes only"),
    ],
    ids=[
        "good",
        "accepted",
        "done-and-again",
        "two-have-it",
        "other-message",
        "gap",
        "swapped",
        "doubled",
        "lost",
        "torn",
    ],
)
def test_checker_tells_what_cannot_be(facts: list[Fact], problem: str) -> None:
    said = Storm(facts, {"dead"}, dict.fromkeys(PIPES, 0))
    if problem:
        with pytest.raises(AssertionError, match=problem):
            said.check()
    else:
        assert said.check() == {"one": 3, "two": 0}
