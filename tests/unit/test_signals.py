"""Signals of the supervisor as values, and what becomes of those that the supervisor has not taken yet."""

from __future__ import annotations

import os
import signal

from shardq.supervisor.wishes.signals import Signals
from tests.faults.kit.points import Child


def test_signals_that_were_not_received_wait_for_the_program_that_is_executed_next() -> None:
    def hold_back() -> list[int]:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGTERM)
            signals.hold_back()
            return sorted(signal.sigpending())

    assert Child(hold_back).result() == [signal.SIGTERM]
