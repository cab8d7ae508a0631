"""The clauses L1.. of `shardq.protocols.Lock`, on every driver and both event loops."""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path

import pytest

from shardq.errors import FencedError
from shardq.protocols import Lock, Served, Storage
from tests.contracts.kit.peer import peer
from tests.support import hands
from tests.support.drivers import Backend, Driver
from tests.support.tasks import LIMIT_S, NEVER_S, finished, in_thread, suspended

KEY = "app.jobs/Resize/7"
PIPE = f"{KEY}/0"
OTHER_KEY = "app.jobs/Crop/8"


#: What a worker serves that has all handlers.
everything: Served = None


# L1


async def test_L1_a_free_key_gives_a_token_and_a_held_one_none(backend: Backend) -> None:
    mine, theirs = backend.new_lock(), backend.new_lock()

    assert await mine.acquire(KEY) > 0

    assert await theirs.acquire(KEY) == 0
    assert await mine.acquire(KEY) == 0
    assert await theirs.acquire(OTHER_KEY) > 0


async def test_L1_a_refused_acquire_leaves_the_holder_its_claim(backend: Backend) -> None:
    mine, theirs = backend.new_lock(), backend.new_lock()
    token = await mine.acquire(KEY)
    await backend.storage.append([(PIPE, [b"message"])])
    await mine.acquire(KEY)
    await theirs.acquire(KEY)

    batch = await hands.take(backend.storage, [PIPE], 1, token)
    await hands.pop(backend.storage, PIPE, batch.through, token)

    assert await mine.release(KEY)


async def test_L1_of_many_at_once_one_gets_the_key(backend: Backend) -> None:
    locks = [backend.new_lock() for _ in range(8)]
    for _ in range(10):
        tokens = await asyncio.gather(*(in_thread(partial(lock.acquire, KEY)) for lock in locks))
        holders = [lock for lock, token in zip(locks, tokens, strict=True) if token]
        assert len(holders) == 1
        assert await holders[0].release(KEY)


@pytest.mark.requires("lone_locks")
async def test_L1_a_lone_lock_holds_until_it_is_given_a_storage(driver: Driver, backend: Backend) -> None:
    assert driver.lone_lock is not None
    lock = driver.lone_lock()
    assert lock.storage is None

    assert await lock.acquire(KEY) > 0
    assert await lock.acquire(KEY) == 0
    assert await lock.exists(KEY)
    assert lock.storage is None

    lock.storage = backend.storage
    holder = backend.new_lock()
    assert await holder.acquire(KEY) > 0
    assert await lock.acquire(KEY) == 0
    await lock.release(KEY)
    assert await holder.exists(KEY)


# L2


async def test_L2_tokens_of_all_keys_and_locks_only_grow(backend: Backend) -> None:
    locks = [backend.new_lock() for _ in range(2)]
    tokens = []
    for round_ in range(20):
        lock, key = locks[round_ % 2], f"app.jobs/Resize/{round_ % 3}"
        tokens.append(await lock.acquire(key))
        assert await lock.release(key)

    assert tokens == sorted(set(tokens))
    assert tokens[0] > 0


async def test_L2_tokens_go_on_after_all_messages_left(backend: Backend) -> None:
    lock, last = backend.new_lock(), 0
    for _ in range(5):
        await backend.storage.append([(PIPE, [b"message"])])
        token = await lock.acquire(KEY)
        await hands.pop(backend.storage, PIPE, (await hands.take(backend.storage, [PIPE], 1, token)).through, token)
        await lock.release(KEY)
        assert token > last
        last = token


async def test_L2_no_two_threads_get_the_same_token(backend: Backend) -> None:
    """One after the other, of one key: others may have a counter of their own."""

    async def claim_some() -> list[int]:
        lock, tokens = backend.new_lock(), list[int]()
        while len(tokens) < 50:
            if token := await lock.acquire(KEY):
                tokens.append(token)
                await lock.release(KEY)
        return tokens

    parts = await asyncio.gather(*(in_thread(claim_some) for _ in range(4)))

    assert all(part == sorted(part) for part in parts)
    assert len({token for part in parts for token in part}) == 200


# L3


async def test_L3_release_frees_the_key_once(backend: Backend) -> None:
    mine, theirs = backend.new_lock(), backend.new_lock()
    await mine.acquire(KEY)

    assert await mine.release(KEY)
    assert not await mine.release(KEY)
    assert await theirs.acquire(KEY) > 0


async def test_L3_a_lock_cannot_release_what_another_holds(backend: Backend) -> None:
    mine, theirs = backend.new_lock(), backend.new_lock()
    await mine.acquire(KEY)

    assert not await theirs.release(KEY)

    assert await theirs.acquire(KEY) == 0
    assert await mine.release(KEY)


async def test_L3_a_late_release_does_not_free_the_next_holder(backend: Backend) -> None:
    mine, theirs = backend.new_lock(), backend.new_lock()
    await mine.acquire(KEY)
    await mine.release(KEY)
    await theirs.acquire(KEY)

    assert not await mine.release(KEY)
    assert await mine.exists(KEY)


async def test_L3_an_unknown_key_cannot_be_released(lock: Lock) -> None:
    assert not await lock.release(KEY)


# L4


@pytest.mark.requires("multiprocess")
async def test_L4_the_claim_of_a_killed_process_is_free(backend: Backend, driver: Driver, root: Path) -> None:
    lock = backend.new_lock()
    async with peer(root, driver.name, backend.address, "claim", KEY) as holder:
        theirs = int(holder.said)
        assert theirs > 0
        assert await lock.acquire(KEY) == 0
        await holder.kill()

        mine = await lock.acquire(KEY)

    assert mine > theirs
    await backend.storage.append([(PIPE, [b"message"])])
    through = (await hands.take(backend.storage, [PIPE], 1, mine)).through
    with pytest.raises(FencedError):
        await hands.pop(backend.storage, PIPE, through, theirs)
    await hands.pop(backend.storage, PIPE, through, mine)


@pytest.mark.requires("multiprocess")
async def test_L4_the_thread_of_a_killed_process_is_offered(backend: Backend, driver: Driver, root: Path) -> None:
    async with peer(root, driver.name, backend.address, "claim", KEY) as holder:
        await backend.storage.append([(PIPE, [b"message"])])
        assert await backend.storage.wait(everything, 0) is None
        await holder.kill()

    assert await backend.storage.wait(everything, LIMIT_S) == KEY


# L5


async def test_L5_exists_tells_whether_any_lock_holds_the_key(backend: Backend) -> None:
    mine, theirs = backend.new_lock(), backend.new_lock()
    assert not await mine.exists(KEY)

    await mine.acquire(KEY)
    assert await mine.exists(KEY)
    assert await theirs.exists(KEY)
    assert not await mine.exists(OTHER_KEY)

    await mine.release(KEY)
    assert not await mine.exists(KEY)
    assert not await theirs.exists(KEY)


async def test_L5_messages_alone_do_not_hold_a_key(backend: Backend) -> None:
    await backend.storage.append([(PIPE, [b"message"])])

    assert not await backend.new_lock().exists(KEY)


# L6


async def test_L6_a_time_to_live_of_zero_releases(backend: Backend) -> None:
    mine, theirs = backend.new_lock(), backend.new_lock()
    await mine.acquire(KEY)

    assert not await theirs.ttl(KEY, 0)
    assert await theirs.exists(KEY)
    assert await mine.ttl(KEY, 0)

    assert not await mine.exists(KEY)
    assert not await mine.ttl(KEY, 0)


async def test_L6_a_time_to_live_tells_whether_this_lock_holds_the_key(backend: Backend) -> None:
    mine, theirs = backend.new_lock(), backend.new_lock()
    assert not await mine.ttl(KEY, 300)
    await mine.acquire(KEY)

    assert await mine.ttl(KEY, 300)
    assert not await theirs.ttl(KEY, 300)

    assert await theirs.acquire(KEY) == 0
    assert await mine.release(KEY)


@pytest.mark.requires("time_leases")
async def test_L6_a_lease_that_ran_out_is_free(backend: Backend) -> None:
    mine, theirs = backend.new_lock(), backend.new_lock()
    token = await mine.acquire(KEY)
    await backend.storage.append([(PIPE, [b"message"])])
    waiting = await suspended(backend.storage.wait(everything))

    assert await mine.ttl(KEY, NEVER_S)
    assert await finished(waiting) == KEY

    assert not await mine.exists(KEY)
    assert not await mine.ttl(KEY, 300)
    assert await theirs.acquire(KEY) > token
    assert not await mine.release(KEY)
    assert await theirs.exists(KEY)
    with pytest.raises(FencedError):
        await hands.pop(backend.storage, PIPE, (await backend.storage.range(PIPE, 1)).through, token)


@pytest.mark.requires("time_leases")
async def test_L6_a_lease_can_be_made_longer(backend: Backend) -> None:
    lock = backend.new_lock()
    await backend.storage.append([(PIPE, [b"message"])])
    lease_s, longer = NEVER_S, False
    while not longer:
        await lock.acquire(KEY)
        began = time.monotonic()
        assert await lock.ttl(KEY, lease_s)
        longer = await lock.ttl(KEY, LIMIT_S)
        assert longer or time.monotonic() - began >= lease_s, "only one that ran out cannot be made longer"
        lease_s *= 2

    assert await backend.storage.wait(everything, lease_s) is None
    assert await lock.release(KEY)


@pytest.mark.requires("time_leases")
async def test_L6_a_lease_ends_with_its_claim(backend: Backend) -> None:
    lock = backend.new_lock()
    await lock.acquire(KEY)
    assert await lock.ttl(KEY, NEVER_S)
    await lock.release(KEY)
    await lock.acquire(KEY)
    await backend.storage.append([(PIPE, [b"message"])])

    assert await backend.storage.wait(everything, 2 * NEVER_S) is None


@pytest.mark.requires("lifelong_claims")
async def test_L6_a_claim_for_life_does_not_run_out(backend: Backend) -> None:
    lock = backend.new_lock()
    token = await lock.acquire(KEY)
    await backend.storage.append([(PIPE, [b"message"])])

    assert await lock.ttl(KEY, NEVER_S / 10)

    assert await backend.storage.wait(everything, NEVER_S) is None
    await hands.pop(backend.storage, PIPE, (await hands.take(backend.storage, [PIPE], 1, token)).through, token)
    assert await lock.release(KEY)


# L7


async def test_L7_a_held_thread_is_offered_after_its_release(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"message"])])
    await lock.acquire(KEY)
    waiting = await suspended(storage.wait(everything))

    await storage.append([(PIPE, [b"another"])])
    await asyncio.wait({waiting}, timeout=0)
    assert not waiting.done()

    await in_thread(lambda: lock.release(KEY))
    assert await finished(waiting) == KEY


async def test_L7_a_thread_without_messages_is_not_offered(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"message"])])
    token = await lock.acquire(KEY)
    await hands.pop(storage, PIPE, (await hands.take(storage, [PIPE], 1, token)).through, token)
    await lock.release(KEY)

    assert await storage.wait(everything, 0) is None


async def test_L7_a_lock_covers_all_priorities(storage: Storage, lock: Lock) -> None:
    await lock.acquire(KEY)
    for priority in range(3):
        await storage.append([(f"{KEY}/{priority}", [b"message"])])
    assert await storage.wait(everything, 0) is None

    await lock.release(KEY)

    assert await storage.wait(everything, 0) == KEY


# L8


async def test_L8_a_paused_thread_is_offered_when_the_pause_is_over(backend: Backend) -> None:
    await backend.storage.append([(PIPE, [b"work"])])
    lock = backend.new_lock()
    await lock.acquire(KEY)
    began = time.monotonic()
    await lock.release(KEY, 0.2)

    assert await backend.storage.wait(everything, LIMIT_S) == KEY
    assert time.monotonic() - began >= 0.19


async def test_L8_a_paused_thread_is_free_and_not_offered(backend: Backend) -> None:
    await backend.storage.append([(PIPE, [b"work"])])
    lock = backend.new_lock()
    await lock.acquire(KEY)
    await lock.release(KEY, 3600)

    assert await backend.storage.wait(everything, 0) is None
    assert not await lock.exists(KEY)


async def test_L8_a_waiter_learns_of_a_pause_that_begins_while_it_waits(backend: Backend) -> None:
    await backend.storage.append([(PIPE, [b"work"])])
    lock = backend.new_lock()
    await lock.acquire(KEY)
    waiting = await suspended(backend.storage.wait(everything))
    await lock.release(KEY, 0.05)

    assert await finished(waiting) == KEY


async def test_L8_new_messages_do_not_end_a_pause(backend: Backend) -> None:
    await backend.storage.append([(PIPE, [b"work"])])
    lock = backend.new_lock()
    await lock.acquire(KEY)
    await lock.release(KEY, 3600)
    await backend.storage.append([(PIPE, [b"more"])])

    assert await backend.storage.wait(everything, 0) is None


async def test_L8_a_pause_ends_when_the_key_is_acquired(backend: Backend) -> None:
    await backend.storage.append([(PIPE, [b"work"])])
    lock = backend.new_lock()
    await lock.acquire(KEY)
    await lock.release(KEY, 3600)
    await lock.acquire(KEY)
    await lock.release(KEY)

    assert await backend.storage.wait(everything, 0) == KEY


# L9


async def test_L9_a_claim_of_a_turn_is_adopted_and_released(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"x"])])
    hand = await storage.turn(None, None, {})
    assert hand is not None
    lock.adopt(KEY, hand.token)

    assert await lock.acquire(KEY) == 0
    assert await lock.exists(KEY)
    assert await lock.release(KEY)
    assert not await lock.exists(KEY)


async def test_L9_a_claim_that_a_turn_released_is_forgotten(storage: Storage, lock: Lock) -> None:
    token = await lock.acquire(KEY)
    assert await storage.unclaim(KEY, token)
    lock.forget(KEY)
    lock.forget("app.jobs/Unknown/1")

    other = await storage.claim(KEY)
    assert other > token
    assert not await lock.release(KEY)
    assert await storage.claimed(KEY)


# L10


async def test_L10_renew_tells_whether_this_lock_holds_the_key(backend: Backend) -> None:
    mine, theirs = backend.new_lock(), backend.new_lock()
    assert not await mine.renew(KEY)
    await mine.acquire(KEY)

    assert await mine.renew(KEY)
    assert await mine.renew(KEY)
    assert not await theirs.renew(KEY)
    assert not await mine.renew(OTHER_KEY)

    await mine.release(KEY)
    assert not await mine.renew(KEY)


async def test_L10_a_claim_that_a_turn_made_is_renewed(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"x"])])
    hand = await storage.turn(None, None, {})
    assert hand is not None
    lock.adopt(KEY, hand.token)
    assert await lock.renew(KEY)


async def test_L10_a_claim_that_was_ended_is_not_renewed(backend: Backend) -> None:
    mine, theirs = backend.new_lock(), backend.new_lock()
    token = await mine.acquire(KEY)
    assert await backend.storage.unclaim(KEY, token)
    assert not await mine.renew(KEY)
    assert not await mine.exists(KEY)

    assert await theirs.acquire(KEY) > token
    assert not await mine.renew(KEY)
    assert await theirs.renew(KEY)


@pytest.mark.requires("time_leases")
async def test_L10_what_is_renewed_outlives_its_lease(backend: Backend) -> None:
    lock = backend.new_lock()
    lock.lease_s, lease_s, held = LIMIT_S, 4 * NEVER_S, False
    while not held:  # else this process was stopped for a lease, and tries a longer one
        assert await lock.acquire(KEY)
        began = sent = time.monotonic()
        held = await lock.ttl(KEY, lease_s)
        while held and time.monotonic() - began < 1.25 * lease_s:
            await backend.storage.wait(everything, lease_s / 4)
            former, sent = sent, time.monotonic()
            held = await lock.renew(KEY)
            assert held or time.monotonic() - former >= lease_s, "only one that was not renewed in time runs out"
        lease_s *= 2


@pytest.mark.requires("time_leases")
async def test_L10_a_lease_begins_with_the_claim_and_ends_it(backend: Backend) -> None:
    lock = backend.new_lock()
    lock.lease_s = NEVER_S
    await backend.storage.append([(PIPE, [b"x"])])
    for claim in ("acquired", "adopted"):
        if claim == "acquired":
            assert await lock.acquire(KEY)
        else:
            hand = await backend.storage.turn(None, None, {})
            assert hand is not None
            lock.adopt(KEY, hand.token)
        assert await backend.storage.wait(everything, LIMIT_S) == KEY
        assert not await lock.renew(KEY)
        lock.forget(KEY)


# L11


async def test_L11_of_a_key_that_is_not_held_it_is_done_at_once(lock: Lock) -> None:
    assert lock.lost(KEY).done()
    await lock.acquire(KEY)
    assert not lock.lost(KEY).done()
    await lock.release(KEY)
    assert lock.lost(KEY).done()


async def test_L11_a_claim_that_stands_is_not_lost(lock: Lock) -> None:
    await lock.acquire(KEY)
    lost = lock.lost(KEY)
    assert await lock.renew(KEY)
    await asyncio.wait({lost}, timeout=NEVER_S)
    assert not lost.done()


async def test_L11_a_claim_that_is_not_renewed_any_more_is_lost(backend: Backend) -> None:
    mine, theirs = backend.new_lock(), backend.new_lock()
    token = await mine.acquire(KEY)
    lost = [mine.lost(KEY), mine.lost(KEY)]
    assert await backend.storage.unclaim(KEY, token)
    await theirs.acquire(KEY)
    assert not await mine.renew(KEY)

    async with asyncio.timeout(LIMIT_S):
        await asyncio.gather(*lost)
    assert not theirs.lost(KEY).done()


@pytest.mark.parametrize("verb", ["release", "forget"])
async def test_L11_what_is_given_up_is_not_lost(lock: Lock, verb: str) -> None:
    await lock.acquire(KEY)
    lost = lock.lost(KEY)
    if verb == "release":
        assert await lock.release(KEY)
    else:
        lock.forget(KEY)
    await asyncio.wait({lost}, timeout=LIMIT_S)
    assert lost.cancelled()


@pytest.mark.requires("time_leases")
async def test_L11_where_no_renewal_comes_the_holder_can_still_release(backend: Backend) -> None:
    lock, lease_s, in_time = backend.new_lock(), 4 * NEVER_S, False
    while not in_time:
        lock.lease_s, began = lease_s, time.monotonic()
        await lock.acquire(KEY)
        lost = lock.lost(KEY)
        async with asyncio.timeout(LIMIT_S):
            await lost
        in_time = await lock.release(KEY)
        assert in_time or time.monotonic() - began >= lease_s, "only a lease that ran out cannot be released"
        lease_s *= 2


@pytest.mark.requires("time_leases")
async def test_L11_a_lease_that_is_given_later_is_watched_as_well(backend: Backend) -> None:
    lock = backend.new_lock()
    await lock.acquire(KEY)
    lost = lock.lost(KEY)
    assert await lock.ttl(KEY, NEVER_S)
    async with asyncio.timeout(LIMIT_S):
        await lost
