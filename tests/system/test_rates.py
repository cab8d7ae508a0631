"""The rates that `shardq status` says are those of what came and went."""

from __future__ import annotations

import asyncio
import json
import math
import time
from typing import Any

import pytest

from shardq import connect
from shardq.cli import OK, main
from shardq.drivers import SharedStorage
from shardq.drivers.redis.observing import RedisObserver
from shardq.drivers.shared.observing import SharedObserver
from shardq.model import Hand, key_of
from tests.support import hands
from tests.support.drivers import MIB
from tests.support.homes import Home, SegmentHome, on_each_home

PIPE = "app.jobs/Resize/3/0"
CAME, WENT = 700, 300
SAMPLE_S = 0.05
#: For so long rates are taken where nothing is measured, later requests with more weight.
SPAN_S = 10.0


async def come_and_go(url: str) -> None:
    async with await connect(url) as queue:
        storage = queue.storage
        assert await storage.append([(PIPE, [b"request"] * CAME)])
        token = await storage.claim(key_of(PIPE))
        batch = await hands.take(storage, [PIPE], WENT, token)
        assert batch.count == WENT
        assert await storage.pop(Hand(key_of(PIPE), token, batch), WENT)
        assert await storage.unclaim(key_of(PIPE), token)


def rates_at(url: str, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, float]:
    assert main(["status", "--url", url, "--json", *words]) == OK
    rates: dict[str, float] = json.loads(capsys.readouterr().out)["rates"]
    return rates


@pytest.fixture
def url(home: Home) -> str:
    if isinstance(home, SegmentHome):
        SharedStorage.create(home.name, 32 * MIB).detach()
    return home.url


@on_each_home
def test_what_is_measured_is_what_came_and_what_went_meanwhile(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for observer in (SharedObserver, RedisObserver):
        _works_after_its_first_look(observer, url, monkeypatch)
    asyncio.run(come_and_go(url))  # is not measured
    began_s = time.monotonic()

    rates = rates_at(url, capsys, "--sample", str(SAMPLE_S))

    longest_s = time.monotonic() - began_s
    assert rates["accepted"] / rates["handled"] == pytest.approx(CAME / WENT)
    assert WENT / longest_s <= rates["handled"] <= WENT / SAMPLE_S


@on_each_home
def test_without_measuring_they_are_those_of_the_last_seconds(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    began_s = time.monotonic()
    asyncio.run(come_and_go(url))

    rates = rates_at(url, capsys)

    fallen = math.exp(-(time.monotonic() - began_s) / SPAN_S)
    assert CAME / SPAN_S * fallen <= rates["accepted"] * 1.001 <= CAME / SPAN_S * 1.002
    assert WENT / SPAN_S * fallen <= rates["handled"] * 1.001 <= WENT / SPAN_S * 1.002


def _works_after_its_first_look(observer: Any, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    look, looks = observer.overview, []

    async def overview(self: Any) -> Any:
        found = await look(self)
        looks.append(found)
        if len(looks) == 1:
            await come_and_go(url)
        return found

    monkeypatch.setattr(observer, "overview", overview)
