"""Handlers that cannot be used: refused at the start of a family, and where that cannot be seen, left to rest."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

import pytest

from shardq import Queue
from shardq.cli import OK, main
from shardq.drivers import SharedStorage
from shardq.supervisor.exits import Exit
from tests.support.drivers import MIB, Backend
from tests.support.leaks import segment_name
from tests.support.programs import until
from tests.support.segments import files_of
from tests.support.supervised import Start
from tests.support.workers import Item, Planned, batches, diary, new_worker, one_each, run, working

HEAD = """
from __future__ import annotations
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple
from shardq import Handler
if TYPE_CHECKING:
    from decimal import Decimal as Hidden
class Job(NamedTuple):
    number: int
"""
UNUSABLE = {
    "unresolved": ("class H(Handler):\n    def perform(self, *requests: Hidden): ...", "name 'Hidden' is not defined"),
    "no_module": ("class H(Handler):\n    def perform(self, *requests: nowhere.Job): ...", "name 'nowhere'"),
    "attribute": ("class H(Handler):\n    def perform(self, *requests: Job.Nothing): ...", "AttributeError"),
    "syntax": ("class H(Handler):\n    def perform(self, *requests: 'list[Job'): ...", "SyntaxError"),
    "no_star": ("class H(Handler[Job]):\n    def perform(self, request): ...", "takes one request"),
    "size": ("class H(Handler[Job]):\n    batch_size = 0\n    def perform(self, *requests): ...", "batch_size must be"),
    "in_field": (
        "class Sent(NamedTuple):\n    amount: Hidden\nclass H(Handler[Sent]):\n    def perform(self, *requests): ...",
        "name 'Hidden' is not defined",
    ),
    "one_way": (
        "class Sent(NamedTuple):\n    numbers: Iterable[int]\n"
        "class H(Handler[Sent]):\n    def perform(self, *requests): ...",
        "can be read only once",
    ),
}


@pytest.mark.parametrize(("code", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_family_does_not_start_with_a_handler_that_cannot_be_used(
    start: Start, name: str, url: str, tmp_path: Path, code: str, reason: str
) -> None:
    (tmp_path / "broken_jobs.py").write_text(HEAD + code, encoding="utf-8")
    program = start("broken_jobs", "--url", url, environment={"PYTHONPATH": str(tmp_path)})

    assert program.end() == Exit.BOOT
    assert reason in program.heard
    assert "Traceback" not in program.heard
    assert files_of(name) == set()


class ByNumber(Planned):
    batch_size = 2


async def test_a_batch_size_may_be_an_attribute(backend: Backend, queue: Queue) -> None:
    await queue.register(ByNumber, *one_each(5))

    await run(new_worker(backend, queue, batch_size=4), 5)

    assert batches() == [(0, 1), (2, 3), (4,)]


class Sized(Planned):
    answer: ClassVar[Any] = 0

    def batch_size(self) -> Any:
        diary.add("asked")
        return self.answer


@pytest.mark.parametrize("answer", [0, -1, "5", 2.5, True, [1]], ids=repr)
async def test_what_cannot_be_used_rests_twice_as_long_each_time(
    backend: Backend, queue: Queue, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shardq.working.worker.FIRST_BACKOFF_S", 0.001)
    monkeypatch.setattr(Sized, "answer", answer)
    await queue.register(Sized, Item(0, 0))
    worker, rests = new_worker(backend, queue), list[float]()
    release = worker.lock.release

    async def noted(key: str, pause_s: float = 0.0) -> None:
        rests.append(pause_s)
        await release(key, pause_s)

    monkeypatch.setattr(worker.lock, "release", noted)
    async with working(worker):
        await diary.until("asked", times=5)
        monkeypatch.setattr(Sized, "answer", 1)
        assert await queue.storage.wait_for_quiet(60)

    assert rests[:4] == [0.001, 0.002, 0.004, 0.008]
    assert batches() == [(0,)]


async def test_a_thread_that_rests_shows_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    storage = SharedStorage.create(segment_name(), capacity_bytes=4 * MIB)
    try:
        await Queue(storage).register(Planned, Item(0, 0))
        key = f"{Planned.__module__}/Planned/0"
        token = await storage.claim(key)
        await storage.unclaim(key, token, 3600)

        assert await asyncio.to_thread(main, ["tubes", "--url", f"shm://{storage.name}"]) == OK
    finally:
        storage.destroy()

    _, tube = capsys.readouterr().out.splitlines()
    assert "rests 1:00:00" in tube or "rests 59:5" in tube


def test_a_handler_that_does_not_start_shows_in_tubes(
    start: Start, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "class Unready(Handler[Job]):\n    def start(self): raise OSError\n    def perform(self, *requests): ...\n"
    (tmp_path / "unready_jobs.py").write_text(HEAD + code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    start("unready_jobs", "--url", url, "--workers", 1, environment={"PYTHONPATH": str(tmp_path)}).serving()
    from unready_jobs import Job, Unready  # type: ignore[import-not-found]

    storage = SharedStorage.attach(url.removeprefix("shm://"))
    Queue(storage).register_sync(Unready, Job(1))
    storage.detach()

    def rests() -> bool:
        assert main(["tubes", "--url", url]) == OK
        return "rests " in capsys.readouterr().out

    until(rests, "the thread shows that it rests")
