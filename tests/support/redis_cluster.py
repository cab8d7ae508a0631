"""A cluster of three masters and three replicas for the tests of one process: on loopback, in a folder of its own.

It is started when a test first asks for it, and ended with the process that runs the tests.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import free_ports
from tests.support.redis_server import die_with_parent, program
from tests.support.tasks import LIMIT_S

MASTERS = 3
#: After so long a server that does not answer counts as lost, where one is to be lost, and where none is: on a busy
#: machine a server may be late by seconds, and a replica would take its place that lacks what came last.
NODE_TIMEOUT_MS, _NEVER_MS = 1000, 120_000
_SLOTS = 16384

_running: list[Cluster] = []


class Node:
    """One server of a cluster."""

    def __init__(self, folder: Path, port: int, node_timeout_ms: int, *options: str) -> None:
        self.port, self._node_timeout_ms, self._options = port, node_timeout_ms, options
        self.folder = folder / str(port)
        self.folder.mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [program(), "--port", str(self.port), "--bind", "127.0.0.1", "--cluster-enabled", "yes"]
        words += ["--dir", str(self.folder), "--save", "", "--cluster-node-timeout", str(self._node_timeout_ms)]
        words += ["--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0", *self._options]
        log = (self.folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log, preexec_fn=die_with_parent)
        _until(self._answers, f"the server at {self.port} comes up")

    def kill(self) -> None:
        """Also one that has not started."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def pause(self, number: int) -> None:
        """Send a signal, SIGSTOP or SIGCONT."""
        assert self._process
        self._process.send_signal(number)

    def ask(self, *words: str | int) -> str:
        """What the server says to a command, as it stands on the wire."""
        told = [str(word).encode() for word in words]
        with socket.create_connection(("127.0.0.1", self.port), LIMIT_S) as client:
            client.sendall(b"*%d\r\n" % len(told) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in told))
            said = client.recv(1 << 16)
            while said[:1] == b"$" and len(said) < int(said[1 : said.index(b"\r")]) + said.index(b"\n") + 3:
                said += client.recv(1 << 16)
        return said.decode(errors="replace")

    def follows(self, master: Node) -> bool:
        """Whether it is a replica of this one, and has what that one has."""
        said = self.ask("INFO", "replication")
        return f"master_port:{master.port}\r\n" in said and "link_status:up" in said

    def _answers(self) -> bool:
        try:
            return self.ask("PING").startswith("+PONG")
        except OSError:
            return False


class Cluster:
    """Three masters, each with a replica."""

    def __init__(self, *options: str, node_timeout_ms: int = NODE_TIMEOUT_MS) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="test-redis-"))
        self.pid = os.getpid()
        ports = free_ports(2 * MASTERS)
        self.nodes = [Node(self.folder, port, node_timeout_ms, *options) for port in ports]

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in self.nodes[:MASTERS])}"

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        masters, replicas = self.nodes[:MASTERS], self.nodes[MASTERS:]
        for number, node in enumerate(masters):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            first, after = number * _SLOTS // MASTERS, (number + 1) * _SLOTS // MASTERS
            assert node.ask("CLUSTER", "ADDSLOTS", *range(first, after)).startswith("+OK")
        for node in self.nodes:
            _until(lambda: self._has_met_all(node), "the servers know one another")  # noqa: B023
        ids = [node.ask("CLUSTER", "MYID").split("\r\n")[1] for node in masters]
        for node, master in zip(replicas, ids, strict=True):
            _until(lambda: node.ask("CLUSTER", "REPLICATE", master).startswith("+OK"), "a replica knows its master")  # noqa: B023
        for node in self.nodes:
            _until(lambda: self._is_whole(node), "the cluster is whole")  # noqa: B023

    def masters(self) -> list[Node]:
        """Those that have slots now."""
        return [node for node in self.nodes if node._answers() and "\r\nrole:master" in node.ask("INFO", "replication")]

    def replica_of(self, master: Node) -> Node:
        [replica] = [node for node in self.nodes if f"master_port:{master.port}\r\n" in node.ask("INFO", "replication")]
        return replica

    def move(self, slot: int, source: Node, target: Node) -> None:
        """Move a slot with its keys, one by one."""
        ids = {node: node.ask("CLUSTER", "MYID").split("\r\n")[1] for node in (source, target)}
        assert target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source]).startswith("+OK")
        assert source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target]).startswith("+OK")
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 10).split("\r\n")[2::2]:
            for key in keys:
                said = source.ask("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
                assert said.startswith(("+OK", "+NOKEY")), said
        for node in (target, source, *self.masters()):
            assert node.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[target]).startswith("+OK")

    def is_whole(self) -> bool:
        """Whether all servers see all of it, and each replica its master."""
        return all(map(self._is_whole, self.nodes))

    def end(self) -> None:
        for node in self.nodes:
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _has_met_all(self, node: Node) -> bool:
        """Whether a server knows all others. It meets those that it does not know, or has forgotten since they did not
        answer within a second when they met.
        """
        known = node.ask("CLUSTER", "NODES")
        missing = [other for other in self.nodes if f":{other.port}@" not in known]
        for other in missing:
            node.ask("CLUSTER", "MEET", "127.0.0.1", other.port)
        return not missing and "handshake" not in known

    def _is_whole(self, node: Node) -> bool:
        linked = "role:master" in node.ask("INFO", "replication") or "link_status:up" in node.ask("INFO", "replication")
        said = node.ask("CLUSTER", "INFO")
        known = f"cluster_known_nodes:{2 * MASTERS}" in said
        return linked and known and "cluster_state:ok" in said and f"cluster_slots_ok:{_SLOTS}" in said


def running_cluster() -> Cluster:
    """The cluster of this process, in which no replica takes the place of its master."""
    if not _running or _running[0].pid != os.getpid():
        _running[:] = [Cluster(node_timeout_ms=_NEVER_MS)]  # kept before it runs, so that it is ended where it fails to
        _running[0].start()
    return _running[0]


@contextmanager
def cluster_to_break() -> Iterator[Cluster]:
    """One whose servers are killed; each replica may take over, however much it lacks."""
    cluster = Cluster("--cluster-replica-validity-factor", "0")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()


def end_cluster() -> None:
    """For the end of the process that runs the tests."""
    while _running:
        cluster = _running.pop()
        if cluster.pid == os.getpid():
            cluster.end()


def _until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < deadline, f"it does not happen that {what}"
        time.sleep(0.01)
