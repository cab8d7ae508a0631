"""Addresses to listen at, and sockets that are opened there."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from shardq.errors import ConfigurationError
from shardq.serving.listening import Listening
from shardq.settings import SupervisorSettings
from shardq.system.addresses import Address


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("127.0.0.1:9100", Address("127.0.0.1", 9100, ""), "127.0.0.1:9100"),
        (":9100", Address("127.0.0.1", 9100, ""), "127.0.0.1:9100"),
        ("app.example:0", Address("app.example", 0, ""), "app.example:0"),
        ("[::1]:9100", Address("::1", 9100, ""), "[::1]:9100"),
        ("unix:/run/app.sock", Address("", 0, "/run/app.sock"), "unix:/run/app.sock"),
    ],
)
def test_an_address_is_read_and_shown(text: str, address: Address, shown: str) -> None:
    assert Address.parsed(text) == address
    assert str(address) == shown


@pytest.mark.parametrize(
    "text", ["", "9100", "localhost", "localhost:", "localhost:x", "a:65536", "a:-1", "::1:9100", "unix:", "[::1]"]
)
def test_what_is_no_address_is_refused_with_its_variable(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is no address"):
        Address.parsed(text)
    with pytest.raises(ConfigurationError, match="QUEUE_SUPERVISOR_METRICS"):
        SupervisorSettings(metrics=text)


def test_a_path_that_no_socket_can_have_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="107 bytes"):
        Address.parsed("unix:/" + "x" * 107)


def test_a_port_that_is_taken_is_named() -> None:
    first = Listening.at(Address.parsed(":0"))
    assert first.address.port > 0
    with pytest.raises(ConfigurationError, match=f"cannot listen at {first.address}: Address already in use"):
        Listening.at(first.address)
    first.close()
    Listening.at(first.address).close()


def test_a_socket_in_a_folder_is_this_users_alone_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    listening = Listening.at(Address.parsed(f"unix:{path}"))
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigurationError, match="Address already in use"):
        Listening.at(listening.address)
    listening.close()
    assert not path.exists()


def test_a_socket_whose_process_hangs_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    with ExitStack() as opened:
        hangs = opened.enter_context(socket.socket(socket.AF_UNIX))
        hangs.bind(path)
        hangs.listen(0)
        opened.enter_context(socket.socket(socket.AF_UNIX)).connect(path)

        with pytest.raises(ConfigurationError, match="Address already in use"):
            Listening.at(Address.parsed(f"unix:{path}"))


def test_a_socket_that_a_dead_process_left_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    path, file = tmp_path / "a.sock", tmp_path / "file"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    listening = Listening.at(Address.parsed(f"unix:{path}"))
    os.unlink(path)
    path.write_text("another's")
    listening.close()
    assert path.read_text() == "another's"

    file.write_text("mine")
    with pytest.raises(ConfigurationError, match="Address already in use"):
        Listening.at(Address.parsed(f"unix:{file}"))
    assert file.read_text() == "mine"
