"""Metrics as text and in a registry, over a segment without a family."""

from __future__ import annotations

import builtins
import math
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from shardq.drivers import SharedStorage
from shardq.errors import ConfigurationError, SegmentMissing
from shardq.handler import drive
from shardq.metrics import Collector, exposed
from shardq.metrics.exposition import text_of
from shardq.metrics.families import FAMILIES
from shardq.metrics.labels import MOST_LABELS, OTHER, labels_of
from shardq.metrics.looks import Look, Looks
from shardq.model import Hand, dead_pipe
from shardq.sampling import Queued
from shardq.settings import StorageSettings
from shardq.shm import words as at
from shardq.shm.observing.observer import PAGE_THREADS
from shardq.text.printable import printable
from tests.support import hands
from tests.support.drivers import MIB
from tests.support.metrics import parsed, total, values_of
from tests.support.segments import new_name, remove_all_like


@pytest.fixture
def storage() -> Iterator[SharedStorage]:
    storage = SharedStorage.create(new_name(), 8 * MIB, settings=StorageSettings(when_full="raise"))
    yield storage
    storage.destroy()
    remove_all_like(storage.name)


def text(storage: SharedStorage) -> str:
    return drive(exposed(f"shm://{storage.name}"))  # type: ignore[no-any-return]


async def something_of_all(storage: SharedStorage) -> None:
    """Three requests of `m/H`, of which one is handled, one is dead and one waits; and one of `m/Other`, taken out."""
    store = storage.store
    assert await storage.append([("m/H/0/0", [b"1", b"2", b"3"])])
    assert await storage.append([("m/Other/0/0", [b"4"])])
    assert await storage.remove("m/Other/0/0", b"4") == 1
    token = store.delivering.claim("m/H/0")
    batch = hands.take(store.delivering, ["m/H/0/0"], 1, token)
    hands.pop(store.delivering, "m/H/0/0", batch.through, token)
    batch = hands.take(store.delivering, ["m/H/0/0"], 1, token)
    assert await storage.bury(Hand("m/H/0", token, batch), batch.sequence, dead_pipe("m/H"), b"letter", "raised")


# Text


async def test_monitoring_reads_what_happened(storage: SharedStorage) -> None:
    await something_of_all(storage)

    found = parsed(text(storage))

    assert found["shardq_requests_accepted_total", "m/H"] == 3
    assert found["shardq_requests_done_total", "m/H", "done"] == 1
    assert found["shardq_requests_done_total", "m/H", "dead"] == 1
    assert found["shardq_requests_done_total", "m/Other", "cancelled"] == 1
    assert found["shardq_attempts_failed_total", "m/H", "raised"] == 1
    assert found["shardq_queued_requests", "m/H"] == 1
    assert found["shardq_queued_requests", "m/Other"] == 0
    assert found["shardq_oldest_request_age_seconds", "m/H"] >= 0
    assert found["shardq_dead_letters", "m/H"] == 1
    assert found["shardq_threads", "bound"] == 1
    assert found["shardq_slots_used",] == 1
    assert found["shardq_supervisor_up",] == 0
    assert found["shardq_memory_capacity_bytes",] == 8 * MIB
    assert ("shardq_next_due_timestamp_seconds",) not in found


def test_every_family_is_read_as_what_it_is(storage: SharedStorage) -> None:
    read = {family.name: family for family in text_string_to_metric_families(text(storage))}
    for family in FAMILIES:
        its = read[family.name.removesuffix("_total")]
        assert (its.type, its.documentation) == (family.kind, family.text)


async def test_the_buckets_of_a_histogram_add_up(storage: SharedStorage) -> None:
    await something_of_all(storage)
    found = parsed(text(storage))
    for name in ("shardq_queue_wait_seconds", "shardq_batch_duration_seconds"):
        buckets = sorted(
            (float(labels[1]), value)
            for (its, *labels), value in found.items()
            if its == f"{name}_bucket"
            if labels[0] == "m/H"
        )
        assert len(buckets) == 33
        assert buckets[-1] == (math.inf, found[f"{name}_count", "m/H"])
        assert [value for _, value in buckets] == sorted(value for _, value in buckets)
        assert 0 <= found[f"{name}_sum", "m/H"] < 60
    assert found["shardq_batches_total", "m/H"] == found["shardq_batch_duration_seconds_count", "m/H"] == 2


async def test_a_name_cannot_break_the_text(storage: SharedStorage) -> None:
    name = 'm/"} 1\n# \\n'
    assert await storage.append([(f"{name}/0/0", [b"1"])])
    assert parsed(text(storage))["shardq_requests_accepted_total", name] == 1


async def test_a_handler_that_is_paused_is_named_at_once(storage: SharedStorage) -> None:
    await something_of_all(storage)
    await storage.pause("m/H")
    found = parsed(text(storage))
    assert found["shardq_handler_paused", "m/H"] == 1
    assert found["shardq_handler_paused", "m/Other"] == 0


async def test_calls_without_room_are_counted_by_what_they_did(storage: SharedStorage) -> None:
    message = b"x" * 100_000
    while await storage.append([("m/H/0/0", [message])]):
        continue
    assert await storage.append_when_room([("m/H/0/0", [message])], 0.01) is None
    found = parsed(text(storage))
    assert found["shardq_register_full_total", "m/H", "raised"] == 1
    assert found["shardq_register_full_total", "m/H", "waited"] == 1


def test_a_storage_that_is_not_there_is_an_error() -> None:
    with pytest.raises(SegmentMissing):
        drive(exposed(f"shm://{new_name()}"))


# Handlers with a label of their own


async def test_ten_thousand_handlers_have_few_labels(storage: SharedStorage) -> None:
    storage.destroy()
    storage = SharedStorage.create(storage.name, 64 * MIB, threads=11_000)
    for first in range(0, 10_000, 100):
        assert await storage.append([(f"m/H{first + place}/0/0", [b"1"]) for place in range(100)])
    before = of_requests(text(storage))
    for first in range(0, 10_000, 100):
        assert await storage.append([(f"m/H{first + place}/0/0", [b"1"]) for place in range(100)])
    after = of_requests(text(storage))
    storage.destroy()

    earlier, later = parsed(before), parsed(after)
    for name in ("shardq_requests_accepted_total", "shardq_queued_requests"):
        labels = values_of(before, name, "handler")
        assert len(labels) <= MOST_LABELS + 1
        assert labels == values_of(after, name, "handler")
        assert (total(earlier, name), total(later, name)) == (10_000, 20_000)
    assert all(later[key] >= value for key, value in earlier.items() if key[0].endswith("_total"))
    assert earlier["shardq_requests_accepted_total", OTHER] == 10_000 - at.LARGEST_HANDLER


def of_requests(text: str) -> str:
    """The same with less to parse."""
    return "".join(line for line in text.splitlines(keepends=True) if line.startswith("shardq_") and "requests" in line)


def test_no_age_is_told_that_a_storage_does_not_say() -> None:
    waiting = {"m/Idle": Queued(), "m/Large": Queued(tubes=1, requests=3), "m/Late": Queued(1, 3, lag_s=7.5)}

    name, found = "shardq_oldest_request_age_seconds", parsed(text_of(Look(waiting=waiting)))
    ages = {key[1]: age_s for key, age_s in found.items() if key[0] == name}
    assert ages == {"m/Idle": 0.0, "m/Late": 7.5}


async def test_a_label_is_read_by_parsers_whatever_is_in_a_name(storage: SharedStorage) -> None:
    names = ['m/"quoted"', "m/back\\slash", "m/two\nlines", "m/\u2028\x1b[31m"]
    for name in names:
        assert await storage.append([(f"{name}/0/0", [b"1"])])
    told = text(storage)

    assert told == printable(told, keep="\n")  # standard output changes nothing
    assert values_of(told, "shardq_queued_requests", "handler") == {*names[:3], r"m/\u2028\x1b[31m"}


def test_those_that_are_counted_keep_their_labels() -> None:
    names = [f"m/H{number:04}" for number in range(1000)]
    labels = labels_of(names, set(names[500:600]))
    assert {labels[name] for name in names[500:600]} == set(names[500:600])
    assert len(set(labels.values())) == MOST_LABELS + 1
    assert set(labels_of(names, {OTHER}).values()) == {OTHER}


# What a look costs


class Clock:
    """Shows a second more at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1
        return self.now


async def test_a_round_over_all_threads_is_made_in_slices_with_rests(
    storage: SharedStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("shardq.metrics.looks.time", clock)
    looks = Looks(f"shm://{storage.name}", 0.5)
    for thread in range(2 * PAGE_THREADS):
        assert await storage.append([(f"m/H/{thread}/0", [b"1"])])
    assert (await looks.look()).waiting == {}  # one of its two pages is seen

    clock.now += 100
    assert (await looks.look()).waiting["m/H"].requests == 2 * PAGE_THREADS
    assert await storage.append([("m/H/0/0", [b"1"])])
    assert (await looks.look()).waiting["m/H"].requests == 2 * PAGE_THREADS  # it rests

    for _ in range(2):
        clock.now += 100
        seen = await looks.look()
    assert seen.waiting["m/H"].requests == 2 * PAGE_THREADS + 1


async def test_a_storage_that_was_made_anew_has_nothing_of_the_former(storage: SharedStorage) -> None:
    looks = Looks(f"shm://{storage.name}", 0.5)
    for pipe in ("m/H/0/0", "m/H/1/0", "m/Other/0/0"):
        assert await storage.append([(pipe, [b"1"])])
    assert set((await looks.look()).waiting) == {"m/H", "m/Other"}
    storage.destroy()
    storage = SharedStorage.create(storage.name, 8 * MIB)
    assert await storage.append([("m/New/0/0", [b"1"])])
    seen = await looks.look()
    storage.destroy()

    assert {name: its.requests for name, its in seen.waiting.items()} == {"m/New": 1}


# A registry


async def test_a_registry_reads_the_same(storage: SharedStorage) -> None:
    await something_of_all(storage)
    registry = CollectorRegistry()
    registry.register(Collector(f"shm://{storage.name}"))
    ours, theirs = parsed(text(storage)), parsed(generate_latest(registry).decode())
    changing = ("shardq_oldest_request_age_seconds", "shardq_memory_used_bytes")
    assert {key: value for key, value in ours.items() if key[0] not in changing} == {
        key: value for key, value in theirs.items() if key[0] not in changing
    }


def test_an_application_exports_its_own_without_the_storage(caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()
    registry.register(Collector(f"shm://{new_name()}"))
    for _ in range(2):
        found = parsed(generate_latest(registry).decode())
        assert found["shardq_supervisor_up",] == 0
        assert total(found, "shardq_requests_accepted_total") == 0
    assert [record.message for record in caplog.records] == ["no metrics of a storage"]


def test_a_registry_needs_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name.startswith("prometheus_client"):
            raise ImportError(name)
        return imported(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError, match="pip install prometheus-client"):
        CollectorRegistry().register(Collector("shm://app"))
