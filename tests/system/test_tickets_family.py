"""Tickets over families that end and begin anew, in other processes, and at the command line."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shardq import Supervisor, Ticket, connect
from shardq.cli import FAILED, OK, main
from shardq.connect import without_secrets
from shardq.errors import RequestFailed, StorageMoved, TicketUnknown
from tests.faults.kit.points import Child
from tests.support.answering import Ask, Twice
from tests.support.chance import sample_of_run
from tests.support.places import PLACES, placed
from tests.support.segments import files_of, new_name
from tests.support.tasks import LIMIT_S

MODULE = "tests.support.answering"
#: Runs the command, and returns its exit code and what it wrote.
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture(params=PLACES)
def url(request: pytest.FixtureRequest, name: str) -> Iterator[str]:
    with placed(request.param, name) as url:
        yield url


@pytest.fixture
def said(url: str, capsys: pytest.CaptureFixture[str]) -> Say:
    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([*map(str, words), "--url", url])
        return status, *capsys.readouterr()

    return run


def family(url: str) -> Supervisor:
    return Supervisor(MODULE, workers=2, url=url)


async def asked(url: str, ticket: str, timeout_s: float = LIMIT_S) -> Any:
    """The result, in a program that does nothing else."""
    async with await connect(url) as queue:
        return await queue.result(ticket, timeout_s=timeout_s)


async def test_results_outlive_their_family(url: str, name: str) -> None:
    async with family(url) as first:
        early = await first.queue.submit(Twice, Ask(1))
        assert await first.queue.result(early) == 2

    async with await connect(url) as alone:
        late = await alone.submit(Twice, Ask(2))
    async with family(url) as second:
        assert await second.queue.result(late) == 4
        assert await second.queue.result(early) == 2

    assert await asked(url, early, 0) == 2
    async with await connect(url) as last:
        assert await last.forget(early)
        assert await last.forget(late)
    async with family(url):
        pass
    assert not files_of(name)


async def test_another_process_takes_the_result(url: str) -> None:
    async with family(url) as running:
        tickets = [await running.queue.submit(Twice, Ask(number)) for number in range(10)]
        texts = [str(ticket) for ticket in tickets]
        takers = [Child(lambda text=text: asyncio.run(asked(url, text))) for text in texts]  # type: ignore[misc]
        taken = await asyncio.gather(*(asyncio.to_thread(taker.result) for taker in takers))
        assert taken == [2 * number for number in range(10)]


async def test_a_worker_that_dies_with_a_request_costs_no_result(url: str, tmp_path: Path) -> None:
    async with family(url) as running:
        tickets = [
            await running.queue.submit(Twice, Ask(number, str(tmp_path) if number == 5 else "", 2))
            for number in range(20)
        ]
        assert [await running.queue.result(ticket) for ticket in tickets] == [2 * number for number in range(20)]
        assert len(os.listdir(tmp_path)) == 2


async def test_a_request_that_kills_its_workers_has_a_failure(url: str, tmp_path: Path) -> None:
    async with family(url) as running:
        ticket = await running.queue.submit(Twice, Ask(1, str(tmp_path), 100))
        with pytest.raises(RequestFailed, match="killed by SIGKILL") as failed:
            await running.queue.result(ticket)
        assert (failed.value.signal, failed.value.attempts) == ("SIGKILL", 3)
        assert list(await running.queue.dead_letters.list()) == []
        assert (await running.queue.storage.backlog()).queued == 0


# The command


async def left(url: str, tmp_path: Path) -> list[Ticket]:
    """Tickets of a family that ended: of two results and a failure."""
    async with family(url) as running:
        asks = [Ask(1), Ask(2), Ask(3, str(tmp_path), 100)]
        tickets = list[Ticket]()
        for ask in asks:
            tickets.append(await running.queue.submit(Twice, ask))
            try:
                await running.queue.result(tickets[-1])
            except RequestFailed:
                assert ask.folder
        return tickets


def test_the_command_lists_and_drops(url: str, said: Say, tmp_path: Path) -> None:
    one, two, three = asyncio.run(left(url, tmp_path))

    status, out, _ = said("results")
    assert status == OK
    titles, first, second, third = out.splitlines()
    assert titles.split() == ["id", "handler", "ago", "result"]
    assert (first.split()[1], first.split()[-1], second.split()[-1]) == (f"{MODULE}/Twice", "2", "4")
    assert "failed: its worker was killed by SIGKILL" in third
    assert not any(ticket in out for ticket in (one, two, three))
    assert said("results", "--limit", 1)[1].splitlines()[-1] == "and 2 more"

    _, out, _ = said("results", "--json")
    first, second, third = json.loads(out)
    assert (first["handler"], first["result"], first["attempts"]) == (f"{MODULE}/Twice", 2, 1)
    assert third["error"] == "its worker was killed by SIGKILL"
    assert first["ready"] < second["ready"]
    assert not any(ticket in out or ticket.digest.hex() in out for ticket in (one, two, three))

    assert said("dead", "list")[1] == "no dead letters\n"
    assert said("tubes")[1] == "no tubes with requests in them\n"
    assert said("check")[1] == "nothing is wrong\n"
    status, _, errors = said("results", "--drop", first["id"], 999)
    assert (status, errors) == (FAILED, "shardq: no result 999 is kept: `results` shows what there is\n")
    assert said("results", "--drop", first["id"], second["id"])[:2] == (OK, "2 dropped\n")
    with pytest.raises(TicketUnknown):
        asyncio.run(asked(url, one))
    with pytest.raises(RequestFailed):
        asyncio.run(asked(url, three))
    status, _, errors = said("destroy")
    assert (status, errors) == (
        FAILED,
        f"shardq: {without_secrets(url)} has results that are kept left: add --with-requests to lose them\n",
    )
    assert said("destroy", "--with-requests")[0] == OK


def test_the_command_says_where_there_are_none(url: str, said: Say) -> None:
    async def serve_a_moment() -> None:
        async with family(url):
            assert (await asyncio.to_thread(said, "results"))[:2] == (OK, "no results are kept\n")
            assert (await asyncio.to_thread(said, "results", "--json"))[1] == "[]\n"

    asyncio.run(serve_a_moment())


@pytest.mark.parametrize("place", sample_of_run([*PLACES], 2))
def test_kept_results_move(url: str, said: Say, tmp_path: Path, place: str) -> None:
    tickets = asyncio.run(left(url, tmp_path))
    with placed(place, new_name()) as there:
        assert main(["move", url, there]) == OK
        assert asyncio.run(asked(there, tickets[0], 0)) == 2
        with pytest.raises(RequestFailed):
            asyncio.run(asked(there, tickets[2], 0))
        with pytest.raises(StorageMoved):
            asyncio.run(asked(url, tickets[0], 0))
        assert main(["check", "--url", there]) == OK
        assert main(["check", "--url", url]) == OK
