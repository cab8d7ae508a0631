"""Metrics of a storage in a registry of `prometheus-client`, as an application has one."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import TYPE_CHECKING

from shardq.connect import is_redis, without_secrets
from shardq.errors import ConfigurationError, ShardqError
from shardq.handler import drive
from shardq.metrics.exposition import number
from shardq.metrics.families import FAMILIES, Distribution, Family
from shardq.metrics.looks import SLICE_S, Look, Looks

if TYPE_CHECKING:
    from prometheus_client import Metric

log = logging.getLogger("shardq.metrics")


class Collector:
    """Reads the metrics of the storage that `url` names whenever its registry is read:

        prometheus_client.REGISTRY.register(shardq.metrics.Collector("shm://app"))

    It needs `prometheus-client`, and raises `ConfigurationError` where that is not installed. Where the storage cannot
    be looked at, the metrics of the application are exported all the same: of shardq `shardq_supervisor_up`, which is 0
    then, and `shardq_build_info`; the reason is logged. It may be read by several threads. Reading it blocks its
    thread: over a server for as long as that takes to answer.
    """

    def __init__(self, url: str) -> None:
        self._looks = Looks(url, SLICE_S)
        self._reading = threading.Lock()
        self._told = ""
        """The reason that was logged last."""

    def describe(self) -> Iterator[Metric]:
        """The metrics there are, without values."""
        for family in FAMILIES:
            yield _metric(_core(), family)

    def collect(self) -> Iterator[Metric]:
        """The metrics with their values of now."""
        core = _core()
        with self._reading:
            look = self._look()
        for family in FAMILIES:
            yield _filled(_metric(core, family), family, look)

    def _look(self) -> Look:
        try:
            look = self._looked()
        except ShardqError as error:
            if str(error) != self._told:
                self._told = str(error)
                log.warning(
                    "no metrics of a storage", extra={"url": without_secrets(self._looks.url), "reason": self._told}
                )
            return Look()
        self._told = ""
        return look

    def _looked(self) -> Look:
        if not is_redis(self._looks.url):
            look: Look = drive(self._looks.look())
            return look
        # A loop may run in this thread, in which no other can.
        with ThreadPoolExecutor(1, "shardq-metrics") as thread:
            return thread.submit(asyncio.run, self._looks.look()).result()


def _core() -> ModuleType:
    try:
        from prometheus_client import core
    except ImportError as error:
        raise ConfigurationError(
            "shardq.metrics.Collector needs prometheus-client: `pip install prometheus-client`, or use what needs no "
            "package, `shardq metrics` and `python -m shardq.supervise ... --metrics ADDRESS`"
        ) from error
    return core


def _metric(core: ModuleType, family: Family) -> Metric:
    kinds = {
        "counter": core.CounterMetricFamily,
        "gauge": core.GaugeMetricFamily,
        "histogram": core.HistogramMetricFamily,
    }
    metric: Metric = kinds[family.kind](family.name, family.text, labels=family.labels)
    return metric


def _filled(metric: Metric, family: Family, look: Look) -> Metric:
    for found in family.read(look):
        labels = dict(zip(family.labels, found.labels, strict=True))
        if not isinstance(found, Distribution):
            metric.add_sample(family.name, labels, found.value)
            continue
        for bound, count in found.buckets:
            metric.add_sample(f"{family.name}_bucket", {**labels, "le": number(bound)}, count)
        metric.add_sample(f"{family.name}_sum", labels, found.total)
        metric.add_sample(f"{family.name}_count", labels, found.buckets[-1][1])
    return metric
