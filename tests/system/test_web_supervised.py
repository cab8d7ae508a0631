"""`supervise --web ADDRESS`: the page beside the workers, whose end no worker notices."""

from __future__ import annotations

import os
import re
from signal import SIGHUP, SIGKILL

import httpx
import psutil

from shardq.supervisor.exits import Exit
from tests.support import jobs
from tests.support.homes import Home, on_each_home
from tests.support.jobs import Folder, Gated, Record
from tests.support.ports import free_ports
from tests.support.programs import Supervise, lives, until
from tests.support.supervised import Start
from tests.support.supervised import client as queue_at
from tests.support.tasks import LIMIT_S

JOBS = jobs.__name__


def address_of(program: Supervise) -> str:
    return program.hear(r"the page is at (http://127\.0\.0\.1:\d+/\?token=\S+)")[1]


def pages(program: Supervise) -> list[int]:
    """Pids of the processes that serve the page."""
    return [
        process.pid
        for process in psutil.Process(program.pid).children()
        if any("shardq.web.companion" in word for word in process.cmdline())
    ]


def shows(client: httpx.Client, address: str) -> bool:
    """Whether the page lets in who has the address."""
    try:
        return client.get(re.sub(r"\?.*", "readyz", address)).text == "ok\n" and client.get(address).status_code == 200
    except httpx.TransportError:
        return False


def test_no_worker_notices_its_end_and_it_ends_with_the_family(start: Start, url: str) -> None:
    program = start(JOBS, "--url", url, "--workers", 1, "--web", "127.0.0.1:0").serving()
    address = address_of(program)
    with httpx.Client(timeout=LIMIT_S) as client:
        until(lambda: shows(client, address), "the page shows a family that serves")
        workers = program.workers(2) - set(pages(program))

        [page] = pages(program)
        os.kill(page, SIGKILL)

        program.hear("the page ended, starting it again")
        until(lambda: pages(program) not in ([], [page]), "the page is there again")
        until(lambda: shows(client, address), "it lets in who was let in before")
        assert all(map(lives, workers))
    [page] = pages(program)
    assert program.stop() == Exit.OK
    assert not lives(page)
    assert program.heard.count("token=") == 1


def test_it_keeps_its_address_and_its_token_over_a_reload(start: Start, url: str) -> None:
    [port] = free_ports(1)
    program = start(JOBS, "--url", url, "--workers", 1, "--web", f"127.0.0.1:{port}").serving()
    address = address_of(program)
    with httpx.Client(timeout=LIMIT_S) as client:
        until(lambda: shows(client, address), "the page shows a family that serves")
        program.signal(SIGHUP)
        program.hear("reloaded")
        until(lambda: shows(client, address), "it lets in who was let in before")
    assert program.stop() == Exit.OK


@on_each_home
def test_a_family_at_work_is_shown(home: Home, start: Start, folder: Folder) -> None:
    home.leave(Gated, folder.notes(range(2)))
    program = start(f"{JOBS}:Gated", "--url", home.url, "--workers", 1, "--web", "127.0.0.1:0").serving()
    address = address_of(program)
    folder.until("begin", 0)
    with httpx.Client(timeout=LIMIT_S) as client:
        until(lambda: shows(client, address), "the page shows a family that serves")
        at = re.sub(r"\?.*", "", address)
        with queue_at(home.url) as queue:
            queue.register_sync(Record, *folder.notes([7]))
        until(lambda: len(client.get(f"{at}api/v1/tubes").json()) == 2, "both tubes are shown")
        tube, unserved = client.get(f"{at}api/v1/tubes").json()
        assert (tube["queued"], tube["unserved"], unserved["unserved"]) == (2, False, True)
        assert tube["oldest_age_s"] > unserved["oldest_age_s"] > 0
        assert f"worker process {tube['worker_pid']}" in client.get(f"{at}thread", params={"pipe": tube["pipe"]}).text
        assert str(tube["worker_pid"]) in client.get(f"{at}workers").text
        assert "busy" in client.get(f"{at}handlers").text
        assert "unserved" in client.get(f"{at}handlers").text
        assert "no worker that looks for work has a handler" in client.get(f"{at}threads").text
        assert client.get(f"{at}healthz").text == "ok\n"
    folder.permit(2)
    folder.until("done", 0, 1)
    assert program.stop() == Exit.OK
    home.discard()
