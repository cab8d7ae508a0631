"""What a supervisor knows of the workers that died while it executed itself anew."""

from __future__ import annotations

import pytest

from shardq.model import Ending
from shardq.shm.processes.slots import Slots
from shardq.shm.store import Store
from tests.faults.kit.points import Child, Gate


@pytest.mark.parametrize(("again", "attached"), [(True, True), (False, False)], ids=["its own", "a dead supervisor's"])
def test_a_worker_that_died_meanwhile_had_attached(store: Store, again: bool, attached: bool) -> None:
    assert store.supervision.become_supervisor()
    worker = Child(lambda: store.membership.join(1))
    worker.end()

    assert store.supervision.become_supervisor(again=again)

    assert store.supervision.note_death(worker.pid, Ending(exit_code=3)) == (attached, False)


def test_a_process_that_is_just_attaching_is_named_and_not_its_predecessor(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    Child(store.take_slot).end()  # its pid stays behind in the slot
    gate = Gate()

    def attach() -> None:
        monkeypatch.setattr(Slots, "_settle", lambda its, slot: gate.wait())
        store.take_slot()

    newcomer = Child(attach)
    try:
        gate.reached()

        assert store.supervision.other_pids() == [newcomer.pid]
    finally:
        newcomer.kill()
        gate.open()
