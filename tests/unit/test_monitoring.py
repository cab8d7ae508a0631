"""The dashboard and the alert rules of `examples/monitoring`: all that they name is exported."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from shardq.drivers import SharedStorage
from shardq.handler import drive
from shardq.metrics import exposed
from shardq.metrics.families import FAMILIES
from shardq.model import When
from tests.support.drivers import MIB
from tests.support.programs import ROOT
from tests.support.segments import new_name, remove_all_like

FOLDER = ROOT / "examples" / "monitoring"
#: Labels that Prometheus adds.
SCRAPED = {"job", "instance"}
#: In the year 2100.
LATER_US = 4_102_444_800_000_000


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))["panels"]
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Each expression, with the text that shows its labels."""
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"], target["legendFormat"]
    text = (FOLDER / "alerts.yml").read_text(encoding="utf-8")
    for rule in re.split(r"^ +- alert: ", text, flags=re.MULTILINE)[1:]:
        [expression] = re.findall(r"^ +expr: (.+)$", rule, re.MULTILINE)
        yield expression, rule.partition("annotations:")[2]


EXPRESSIONS = list(expressions())


def metrics_in(expression: str) -> set[str]:
    return set(re.findall(r"\bshardq_\w+", expression))


@pytest.fixture(scope="module")
def exported() -> Mapping[str, Mapping[str, set[str]]]:
    """The values of each label, by the name of the sample."""
    storage = SharedStorage.create(new_name(), 8 * MIB)
    drive(storage.append([("m/H/0/0", [b"1"])]))
    drive(storage.append([("m/H/0/0", [b"2"])], when=When(LATER_US)))
    text = drive(exposed(f"shm://{storage.name}"))
    storage.destroy()
    remove_all_like(storage.name)
    found: dict[str, dict[str, set[str]]] = {}
    for sample in (sample for family in text_string_to_metric_families(text) for sample in family.samples):
        labels = found.setdefault(sample.name, {})
        for label, value in sample.labels.items():
            labels.setdefault(label, set()).add(value)
    return found


@pytest.mark.parametrize("place", range(len(EXPRESSIONS)), ids=lambda place: f"expression-{place}")
def test_what_is_named_is_exported(place: int, exported: Mapping[str, Mapping[str, set[str]]]) -> None:
    expression, shown = EXPRESSIONS[place]
    names = metrics_in(expression)
    assert names
    assert names <= exported.keys()
    grouped = {
        label for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.replace(" ", "").split(",")
    }
    legend = set(re.findall(r"\{\{ *(?:\$labels\.)?(\w+) *\}\}", shown))
    for name in names:
        assert grouped - SCRAPED <= exported[name].keys() | SCRAPED
    assert legend <= grouped | SCRAPED
    for name, matchers in re.findall(r"\b(shardq_\w+)\{([^}]*)\}", expression):
        for label, values in re.findall(r'(\w+)=~?"([^"]*)"', matchers):
            if label not in SCRAPED:
                assert set(values.split("|")) <= exported[name][label]


def test_the_dashboard_shows_every_family() -> None:
    shown = {name for panel in panels() for target in panel["targets"] for name in metrics_in(target["expr"])}
    # When something is due next is for an alert.
    missing = {family.name for family in FAMILIES} - {re.sub("_bucket$", "", name) for name in shown}
    assert missing == {"shardq_next_due_timestamp_seconds"}


def test_panels_do_not_overlap_and_are_told_apart() -> None:
    places = [panel["gridPos"] for panel in panels()]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_every_alert_says_what_is_wrong() -> None:
    text = (FOLDER / "alerts.yml").read_text(encoding="utf-8")
    rules = re.split(r"^      - alert: ", text, flags=re.MULTILINE)[1:]
    assert len(rules) == text.count("alert: ") > 5
    for rule in rules:
        assert re.match(r"Shardq[A-Z]\w+\n", rule)
        assert len(re.findall(r"^          summary: .+", rule, re.MULTILINE)) == 1
        assert len(re.findall(r"^        labels: \{severity: (?:critical|warning)\}$", rule, re.MULTILINE)) == 1
    assert "\t" not in text


def test_the_page_names_every_family() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (`shardq_.*?`) \| (?:counter|gauge|histogram) \|(.*)\|$", page, re.MULTILINE))
    named = {name: labels for names, labels in rows.items() for name in re.findall(r"`(\w+)`", names)}
    assert named.keys() == {family.name for family in FAMILIES}
    for family in FAMILIES:
        assert [label for label in re.findall(r"`(\w+)`", named[family.name]) if label in family.labels] == [
            *family.labels
        ]
