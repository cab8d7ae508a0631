"""All that is made from a results file: the page, its charts and the table in the README."""

from __future__ import annotations

from pathlib import Path

from bench.harness.contestant import ROOT
from bench.harness.results import Results
from bench.harness.summary import Summary, summaries
from bench.registry import SCENARIOS
from bench.report import chart, page, readme

PAGE = ROOT / "docs" / "reference" / "performance.md"
CHARTS = ROOT / "docs" / "reference" / "performance"
README = ROOT / "README.md"


def documents(results: Results) -> dict[Path, str]:
    """The text of each file. Scenarios that the results do not have are left out, as are results without a scenario."""
    found = {
        name: summaries(scenario, results.scenarios[name])
        for name, scenario in SCENARIOS.items()
        if name in results.scenarios
    }
    charts = {CHARTS / f"{name}.svg": chart.svg(charted(its)) for name, its in found.items() if its}
    table = readme.table(results, found)
    return {
        PAGE: page.text(results, found, CHARTS.name),
        **charts,
        README: readme.replaced(README.read_text(encoding="utf-8"), table),
    }


def charted(found: list[Summary]) -> list[Summary]:
    """Those of a scenario's first figure."""
    return [summary for summary in found if summary.figure is found[0].figure]
