"""Filters for requests that wait, as operators write them: `within=1h`, `beyond=2d`, `user.id=5`, `name~smith`."""

from __future__ import annotations

import time
from collections.abc import Callable

from shardq.matching import Span, field_test, parts_of
from shardq.model import Deferred

_FORMS = "FIELD=VALUE, FIELD~TEXT, within=1h or beyond=1h"


class Match:
    """True for requests that all of some filters fit.

    `field=value` and `field~text`: as `shardq.letters.match.Match` has them. `within=1h` and `beyond=1h30m`: it is due
    so soon or sooner, or later than that, in s, m, h and d. For a field that has one of these names begin with a dot:
    `.within=a`.

    Raises `ConfigurationError` for a filter that cannot be read. Times count from when this was made.
    """

    def __init__(self, *filters: str) -> None:
        now_us = time.time_ns() // 1000
        self._tests = [_test_of(each, now_us) for each in filters]

    def __call__(self, deferred: Deferred) -> bool:
        return all(test(deferred) for test in self._tests)


def _test_of(text: str, now_us: int) -> Callable[[Deferred], bool]:
    name, mark, wanted = parts_of(text, _FORMS)
    if name in ("within", "beyond") and mark == "=":
        limit_us = now_us + Span(text, "within=90s, within=5m, beyond=1h30m or beyond=2d").us(wanted)
        return lambda deferred: (deferred.due_us <= limit_us) == (name == "within")
    fits = field_test(name, mark, wanted)
    return lambda deferred: fits(deferred.message)
