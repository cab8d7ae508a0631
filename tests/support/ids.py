"""Names for the parameters of tests: the same in every process, which share the tests by their names."""

from __future__ import annotations

import re


def text_of(value: object) -> str:
    """A parameter as text, without where objects lie in memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def without(test: str, *names: str) -> str:
    """The name of a test, without those of its parameters that have such a name."""
    function, _, parameters = test.partition("[")
    for name in names:
        parameters = re.sub(rf"(^|-){re.escape(name)}(?=[-\]])", "", parameters, count=1)
    return f"{function}[{parameters.removeprefix('-')}"
