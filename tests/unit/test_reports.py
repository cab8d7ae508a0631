"""What tests report reaches the process that prints it, whatever is in it."""

from __future__ import annotations

import pytest

from tests.support.chance import add_figure, figures
from tests.support.reports import sendable


def test_text_that_is_no_text_can_be_sent() -> None:
    report = {"sections": [("Captured stderr", "name \udcff")], "when": "call", "duration": 0.5, "none": None}
    assert sendable(report) == report | {"sections": [("Captured stderr", "name \\udcff")]}


def test_what_can_be_sent_stays_as_it_is() -> None:
    report = {"ä": ["漢", b"\xff", (1, True)], "nested": {"list": []}}
    assert sendable(report) == report


def report_of(request: pytest.FixtureRequest, when: str) -> pytest.TestReport:
    item = request.node
    return pytest.TestReport(
        item.nodeid,
        item.location,
        {},
        "passed",
        None,
        when,  # type: ignore[arg-type]
        user_properties=[*item.user_properties],
    )


def test_figures_are_summed_over_tests_and_not_over_their_phases(request: pytest.FixtureRequest) -> None:
    before = len(request.node.user_properties)
    add_figure(request.node, "stops", 2)
    add_figure(request.node, "kill points", 3)
    reports = [report_of(request, when) for when in ("setup", "call", "teardown", "call")]
    del request.node.user_properties[before:]  # they are no figures of this run
    assert figures([*reports, object()]) == "6 kill points, 4 stops"
