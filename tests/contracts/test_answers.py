"""What callers need that wait for results: S36 and S37 of `shardq.protocols.Storage`, on every driver that answers."""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

from pathlib import Path

import pytest

from shardq.model import EMPTY, Hand, Terms
from shardq.outputs import Output
from shardq.protocols import Lock, Storage
from tests.contracts.kit.peer import peer
from tests.contracts.test_storage import KEY, PIPE, claimed, handed, numbered
from tests.support.drivers import Backend, Driver
from tests.support.tasks import NEVER_S, finished, in_thread, suspended

INBOX_KEY = "app.results/Inbox/7"
INBOX = f"{INBOX_KEY}/0"
TERMS = {"app.results/Inbox": Terms((0,), 64)}
NONE = frozenset[str]()
WORKERS = frozenset({"app.results/Inbox"})


async def test_S36_an_output_wakes_the_claimant_that_rests(storage: Storage, lock: Lock) -> None:
    inbox = Hand(INBOX_KEY, await storage.claim(INBOX_KEY), EMPTY)
    resting = await suspended(storage.rest(inbox, NONE, TERMS))
    await storage.append([(PIPE, numbered(1))])
    token = await claimed(lock)
    hand = Hand(KEY, token, await storage.take(KEY, token, Terms((0,), 1)))

    await in_thread(lambda: storage.pop(hand, 1, [Output(INBOX, [b"result"])]))

    found = await finished(resting)
    assert handed(found) == (INBOX_KEY, [b"result"])
    assert handed(await storage.rest(found, NONE, TERMS, NEVER_S)) == (INBOX_KEY, [])
    assert await storage.length(INBOX) == 0


async def test_S36_what_has_a_claimant_is_offered_to_no_other(storage: Storage) -> None:
    await storage.claim(INBOX_KEY)
    await storage.append([(INBOX, [b"result"])])

    assert await storage.wait(WORKERS, 0) is None
    assert await storage.claimed(INBOX_KEY)


@pytest.mark.requires("multiprocess")
async def test_S36_a_claimant_that_died_leaves_it_to_others(
    backend: Backend, driver: Driver, root: Path, storage: Storage
) -> None:
    async with peer(root, driver.name, backend.address, "claim", INBOX_KEY) as caller:
        await storage.append([(INBOX, [b"result"])])
        assert await storage.claimed(INBOX_KEY)
        assert await storage.wait(WORKERS, 0) is None
        await caller.kill()

    assert not await storage.claimed(INBOX_KEY)
    assert await storage.wait(WORKERS) == INBOX_KEY


@pytest.mark.requires("multiprocess")
async def test_S36_its_death_wakes_those_that_sleep(
    backend: Backend, driver: Driver, root: Path, storage: Storage
) -> None:
    async with peer(root, driver.name, backend.address, "claim", INBOX_KEY) as caller:
        await storage.append([(INBOX, [b"result"])])
        waiting = await suspended(storage.wait(WORKERS))
        await caller.kill()

        assert await finished(waiting) == INBOX_KEY


async def test_S37_it_is_known_or_not_who_serves(storage: Storage) -> None:
    known = await storage.serving("app.jobs/Resize") is not None
    assert await storage.serving("app.jobs/Resize") in (0, None)

    assert await storage.wait(frozenset({"app.jobs/Resize"}), 0) is None

    assert await storage.serving("app.jobs/Resize") == (1 if known else None)
    assert await storage.serving("app.jobs/Fold") == (0 if known else None)


async def test_S37_reading_results_is_not_serving(storage: Storage) -> None:
    inbox = Hand(INBOX_KEY, await storage.claim(INBOX_KEY), EMPTY)
    await storage.rest(inbox, NONE, TERMS, 0)

    assert await storage.serving("app.results/Inbox") in (0, None)
