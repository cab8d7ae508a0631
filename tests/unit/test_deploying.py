"""The files of `examples/deploy`: systemd and YAML can read them, and their commands are those that there are."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from examples.deploy.probe import said_yes
from shardq.serving.command_line import parser, settings_of
from shardq.settings import SupervisorSettings
from shardq.web.application import PROBES
from tests.support.programs import ROOT

FOLDER = ROOT / "examples" / "deploy"
UNIT = (FOLDER / "ledger.service").read_text(encoding="utf-8")
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
SUPERVISE = ["python", "-m", "shardq.supervise"]
PROBE = ["python", "-m", "examples.deploy.probe"]


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each with what follows its name."""
    lines = [line for line in DOCKERFILE.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = read("kubernetes.yaml")["spec"]["template"]["spec"]
    return spec


def commands() -> Iterator[list[str]]:
    """All commands of shardq in these files."""
    [line] = re.findall("^ExecStart=(.*)$", UNIT, re.MULTILINE)
    yield ["python", *shlex.split(line)[1:]]
    yield json.loads(dict(instructions())["CMD"])
    [container] = pod()["containers"]
    yield container["command"]


def probes() -> Iterator[list[str]]:
    yield json.loads(dict(instructions())["HEALTHCHECK"].partition(" CMD ")[2])
    [container] = pod()["containers"]
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        yield container[name]["exec"]["command"]


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze")
    unit = tmp_path / "ledger.service"
    unit.write_text(UNIT.replace("/srv/ledger/venv/bin/python", sys.executable), encoding="utf-8")
    verified = subprocess.run(
        ("systemd-analyze", "verify", unit), capture_output=True, text=True, timeout=60, check=False
    )
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_the_image_is_built_from_instructions_that_there_are() -> None:
    known = {"FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "HEALTHCHECK", "CMD"}
    names = [name for name, _ in instructions()]
    assert names[0] == "FROM"
    assert set(names) == known
    assert (names.count("CMD"), names.count("HEALTHCHECK")) == (1, 1)


def test_each_command_can_be_given() -> None:
    found = list(commands())
    assert len(found) == 3
    for words in found:
        assert words[:3] == SUPERVISE
        settings_of(parser().parse_args(words[3:]))


def test_each_probe_asks_what_the_page_answers() -> None:
    found = list(probes())
    assert len(found) == 4
    for words in found:
        assert words[:3] == PROBE
        assert f"/{words[3]}" in PROBES


def test_each_end_leaves_workers_the_time_that_they_have() -> None:
    [seconds] = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)
    graces = [
        float(seconds),
        float(read("compose.yaml")["services"]["workers"]["stop_grace_period"].removesuffix("s")),
        pod()["terminationGracePeriodSeconds"],
    ]
    assert min(graces) > SupervisorSettings().shutdown_timeout + 5


def test_the_containers_of_one_host_share_memory_and_sight() -> None:
    services = read("compose.yaml")["services"]
    assert services["workers"]["ipc"] == "shareable"
    assert services["site"]["ipc"] == services["site"]["pid"] == "service:workers"
    assert services["site"]["build"] == services["workers"]["build"]


class Answers(BaseHTTPRequestHandler):
    """Says yes to `/readyz` alone."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 503)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None: ...


def test_a_probe_hears_yes_no_and_nothing() -> None:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        port = server.server_port
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            assert said_yes("readyz", port)
            assert not said_yes("healthz", port)
        finally:
            server.shutdown()
            thread.join()
    assert not said_yes("readyz", port)
