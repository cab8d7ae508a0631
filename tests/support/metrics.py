"""Metrics as a monitoring server reads them: parsed by the parser of `prometheus-client`."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

#: By name and labels: `samples["shardq_workers", "idle"]` where there is one label; else in the order of their names.
Samples = dict[tuple[str, ...], float]


def parsed(text: str) -> Samples:
    """The values by the name of the sample and the values of its labels."""
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def label_names(text: str) -> dict[str, set[str]]:
    """The labels of each sample, by its name."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def values_of(text: str, name: str, label: str) -> set[str]:
    """All values that a label of these samples has."""
    every = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {sample.labels[label] for sample in every if sample.name == name}


def total(samples: Samples, name: str) -> float:
    """The sum of all samples of a name."""
    return sum(value for (its, *_), value in samples.items() if its == name)
