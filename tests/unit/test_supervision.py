"""What a supervisor knows of the workers that died while it executed itself anew."""

from __future__ import annotations

import pytest

from shardq.model import Ending
from shardq.shm.store import Store
from tests.faults.kit.points import Child


@pytest.mark.parametrize(("again", "attached"), [(True, True), (False, False)], ids=["its own", "a dead supervisor's"])
def test_a_worker_that_died_meanwhile_had_attached(store: Store, again: bool, attached: bool) -> None:
    assert store.supervision.become_supervisor()
    worker = Child(lambda: store.membership.join(1))
    worker.end()

    assert store.supervision.become_supervisor(again=again)

    assert store.supervision.note_death(worker.pid, Ending(exit_code=3)) == (attached, False)
