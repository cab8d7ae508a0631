"""All metrics: the families that `shardq.metrics` exposes."""

from __future__ import annotations

from docs.extensions.facts.tables import table
from shardq.metrics.families import FAMILIES


def text() -> str:
    return table(
        ("name", "type", "labels", "meaning"),
        ((f"`{its.name}`", its.kind, ", ".join(f"`{label}`" for label in its.labels), its.text) for its in FAMILIES),
    )
