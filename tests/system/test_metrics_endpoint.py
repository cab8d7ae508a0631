"""`supervise --metrics ADDRESS`: a process beside the workers answers, whose end no worker notices."""

from __future__ import annotations

import http.client
import os
import signal
import socket
from pathlib import Path

import psutil
import pytest

from shardq import Supervisor
from shardq.settings import SupervisorSettings
from shardq.supervisor.exits import Exit
from tests.support import jobs
from tests.support.homes import Home, ServerHome
from tests.support.jobs import Folder, Gated
from tests.support.metrics import Samples, parsed, total
from tests.support.ports import free_ports
from tests.support.programs import Supervise, lives, until
from tests.support.supervised import Start, client

JOBS = jobs.__name__
GATED = f"{JOBS}/Gated"
LIMIT_S = 30.0
NOWHERE = "127.0.0.1:0"


def port_of(program: Supervise) -> int:
    return int(program.hear(r"metrics are told at=127\.0\.0\.1:(\d+)")[1])


def asked(port: int, method: str = "GET", path: str = "/metrics", host: str | None = None) -> tuple[int, str]:
    """Status and text of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    connection.request(method, path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    status, text = answer.status, answer.read().decode()
    connection.close()
    return status, text


def scraped(port: int) -> Samples:
    status, text = asked(port)
    assert status == 200, text
    return parsed(text)


def answerer(program: Supervise) -> int:
    """Pid of the process that answers, once there is one."""
    found = list[int]()

    def there() -> bool:
        found[:] = [
            process.pid
            for process in psutil.Process(program.pid).children()
            if any("shardq.metrics.endpoint" in word for word in process.cmdline())
        ]
        return bool(found)

    until(there, f"{program.pid} has a process that answers")
    return found[0]


def test_the_figures_of_a_family_are_read_at_its_address(home: Home, start: Start, folder: Folder) -> None:
    home.leave(Gated, folder.notes(range(4), threads=2))
    program = start(JOBS, "--url", home.url, "--workers", 2, "--metrics", NOWHERE).serving()
    folder.until("begin", 0, 1)
    port = port_of(program)

    found = scraped(port)
    assert found["shardq_supervisor_up",] == 1
    assert total(found, "shardq_queued_requests") == 4
    assert total(found, "shardq_requests_accepted_total") == 4
    until(lambda: scraped(port)["shardq_workers", "busy"] == 2, "two workers are seen at work")

    folder.permit(4)
    until(lambda: total(scraped(port), "shardq_requests_done_total") == 4, "all is seen to be done")
    assert program.stop() == Exit.OK


@pytest.mark.parametrize("home", [ServerHome], indirect=True, ids=["server"])
def test_a_family_on_a_server_is_read_too(start: Start, url: str, folder: Folder) -> None:
    program = start(JOBS, "--url", url, "--workers", 1, "--metrics", NOWHERE).serving()
    port = port_of(program)
    until(lambda: asked(port)[0] == 200, "the server is looked at, which takes time on a busy machine")
    found = scraped(port)
    assert found["shardq_supervisor_up",] == 1
    assert found["shardq_queued_requests", "other"] == 0
    with client(url) as queue:
        queue.register_sync(Gated, *folder.notes(range(4), 2))
        folder.until("begin", 0)
        until(lambda: scraped(port).get(("shardq_queued_requests", GATED)) == 4, "what waits is told by handler")
        found = scraped(port)
        assert found["shardq_oldest_request_age_seconds", GATED] > 0
        assert ("shardq_queued_requests", "other") not in found
        assert found["shardq_requests_accepted_total", GATED] == 4
        folder.permit(4)
        folder.until("done", *range(4))
        done = "shardq_requests_done_total", GATED, "done"
        until(lambda: scraped(port).get(done) == 4, "the worker, which has nothing to do, says what it did")
        found = scraped(port)
        assert found["shardq_queue_wait_seconds_count", GATED] == found["shardq_batches_total", GATED] > 0
        assert found["shardq_requests_accepted_total", GATED] == 4
    assert program.stop() == Exit.OK


def test_only_GET_and_HEAD_of_metrics_under_an_own_name_are_done(start: Start, url: str) -> None:  # noqa: N802
    program = start(JOBS, "--url", url, "--workers", 1, "--metrics", NOWHERE).serving()
    port = port_of(program)

    assert asked(port, host="evil.example")[0] == asked(port, host=f"evil.example:{port}")[0] == 403
    assert asked(port, host=f"localhost:{port}")[0] == 200
    assert asked(port, "HEAD") == (200, "")
    assert [asked(port, method)[0] for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE")] == [405] * 5
    assert asked(port, path="/")[0] == 404
    assert program.stop() == Exit.OK


def test_a_socket_in_a_folder_is_asked_under_any_name(start: Start, url: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    program = start(JOBS, "--url", url, "--workers", 1, "--metrics", f"unix:{path}").serving()
    program.hear("metrics are told")
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))
        caller.sendall(b"GET /metrics HTTP/1.1\r\nHost: anything\r\n\r\n")
        assert b"".join(iter(lambda: caller.recv(65536), b"")).startswith(b"HTTP/1.1 200 OK")
    assert program.stop() == Exit.OK
    assert not path.exists()


def test_no_worker_notices_its_end_and_a_request_meanwhile_waits(start: Start, url: str) -> None:
    program = start(JOBS, "--url", url, "--workers", 2, "--metrics", NOWHERE).serving()
    port, workers = port_of(program), {process.pid for process in psutil.Process(program.pid).children()}
    first = answerer(program)

    os.kill(first, signal.SIGKILL)
    assert scraped(port)["shardq_supervisor_up",] == 1

    program.hear("metrics ended, starting it again")
    assert answerer(program) != first
    assert workers - {first} <= {process.pid for process in psutil.Process(program.pid).children()}
    assert total(scraped(port), "shardq_worker_deaths_total") == 0
    assert program.stop() == Exit.OK


def test_it_does_not_outlive_a_supervisor_that_is_killed(start: Start, url: str) -> None:
    program = start(JOBS, "--url", url, "--workers", 1, "--metrics", NOWHERE).serving()
    port_of(program)
    pid = answerer(program)
    program.kill()
    until(lambda: not lives(pid), "what answered has ended")


def test_a_reload_goes_on_at_the_same_address(start: Start, url: str) -> None:
    [port] = free_ports(1)
    program = start(JOBS, "--url", url, "--workers", 1, "--metrics", f":{port}").serving()
    port_of(program)
    first = answerer(program)
    program.signal(signal.SIGHUP)
    program.hear("reloaded")
    program.hear_times("metrics are told", 2)
    assert scraped(port)["shardq_supervisor_up",] == 1
    assert answerer(program) != first
    assert program.stop() == Exit.OK


def test_an_address_that_is_taken_is_refused_at_the_start(start: Start, url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        program = start(JOBS, "--url", url, "--metrics", f"127.0.0.1:{taken.getsockname()[1]}")
        assert program.end() == Exit.USAGE
    program.hear("cannot listen at 127.0.0.1:.*: Address already in use: choose another address")


def test_a_worker_that_is_killed_is_counted(start: Start, url: str) -> None:
    program = start(JOBS, "--url", url, "--workers", 1, "--metrics", NOWHERE).serving()
    port, own = port_of(program), answerer(program)
    [worker] = {process.pid for process in psutil.Process(program.pid).children()} - {own}
    until(lambda: scraped(port)["shardq_workers", "idle"] == 1, "the worker serves")
    os.kill(worker, signal.SIGKILL)
    until(lambda: scraped(port)["shardq_worker_deaths_total", "killed"] == 1, "its death is counted")
    assert program.stop() == Exit.OK


def test_an_application_that_embeds_a_family_has_it_as_well() -> None:
    [port] = free_ports(1)
    with Supervisor(JOBS, workers=1, settings=SupervisorSettings(metrics=f":{port}")):
        assert scraped(port)["shardq_workers", "idle"] == 1
