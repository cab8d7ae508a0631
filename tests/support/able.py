"""The driver of a test, where it can do what the test requires. Apart from `drivers`, which other processes import."""

from __future__ import annotations

import pytest

from tests.support.drivers import CAPABILITIES, Driver


def able_driver(request: pytest.FixtureRequest) -> Driver:
    """The driver that a fixture is asked for; the test is skipped where that lacks what the test requires."""
    found: Driver = request.param
    required = required_by(request.node)
    assert required <= CAPABILITIES.keys(), f"no such capabilities: {required - CAPABILITIES.keys()}"
    missing = required - found.capabilities
    if missing:
        pytest.skip(f"{found.name} lacks {', '.join(sorted(missing))}")
    return found


def required_by(test: pytest.Item) -> set[str]:
    """The capabilities that a test requires of its driver."""
    return {word for mark in test.iter_markers("requires") for word in mark.args}
