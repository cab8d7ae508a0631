"""Which server a URL names, and how it is spoken with."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from redis.asyncio import Redis, RedisCluster, SSLConnection
from redis.asyncio.sentinel import Sentinel
from redis.credentials import UsernamePasswordCredentialProvider

from shardq.connect import segment_name, signpost, without_secrets
from shardq.drivers.redis.connecting import storage_of
from shardq.drivers.redis.connections.address import Address, of_client, of_url, seeds_of_client
from shardq.errors import ConfigurationError


def test_a_url_says_how_to_connect() -> None:
    address, options, _ = of_url("redis://ann:s%40cret@host:7/3?protocol=3&socket_timeout=2.5&socket_connect_timeout=1")
    assert (address.host, address.port, address.db, address.protocol) == ("host", 7, 3, 3)
    assert (address.username, address.password) == ("ann", "s@cret")
    assert (address.answer_s, address.connect_s) == (2.5, 1.0)
    assert not options
    assert of_url("redis+unix://:secret@/run/redis?db=2").address == Address(path="/run/redis", password="secret", db=2)


@pytest.mark.parametrize(
    ("user", "words"),
    [("", ()), (":secret@", (b"secret",)), ("ann:secret@", (b"ann", b"secret")), ("ann@", (b"ann", b""))],
)
def test_a_connection_signs_in_as_the_user_of_its_url(user: str, words: tuple[bytes, ...]) -> None:
    assert of_url(f"redis://{user}host").address.greeting == ([(b"AUTH", *words)] if words else [])
    named = (b"AUTH", *(words if len(words) == 2 else (b"default", *words))) if words else ()
    assert of_url(f"redis://{user}host?protocol=3").address.greeting == [(b"HELLO", b"3", *named)]


def test_options_of_redis_py_that_change_nothing_may_stay() -> None:
    assert of_url("redis://host?decode_responses=true&max_connections=9").address == Address(host="host")


def test_a_url_says_how_many_copies_are_wanted() -> None:
    address = storage_of("redis://host?replicas=2&fsync=true").server.address
    assert (address.replicas, address.fsync) == (2, True)
    address = storage_of("redis://host").server.address
    assert (address.replicas, address.fsync) == (0, False)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://host?replicas=some", "replicas='some' cannot be"),
        ("redis://host?fsync=maybe", "fsync='maybe' cannot be"),
        ("redis://host?partition=3", "no option partition"),
        ("redis://host?socket_timeout=soon", "cannot be used"),
        ("redis://host:port", "cannot be used"),
        ("redis://:12#secret@host:6379", "cannot be used"),
        ("redis://host/jobs", "is a number, .*prefix=NAME"),
        ("redis:/host", "is a number"),
        ("redis://host/3/4", "is a number"),
        ("redis://host?protocol=4", "protocol='4' cannot be"),
        ("redis+unix://run/redis.sock", r"redis\+unix:///PATH"),
        ("redis+unix:run/redis.sock", r"redis\+unix:///PATH"),
        ("rediss://host?ssl_ca_certs=/nowhere/at/all.pem", "ssl_ca_certs"),
        ("rediss://host?ssl_validate_ocsp=true", "no option ssl_validate_ocsp"),
    ],
)
def test_a_url_that_cannot_be_kept_to_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        storage_of(url)


@pytest.mark.parametrize(
    ("option", "mode", "checks_name"),
    [
        ("", ssl.CERT_REQUIRED, True),
        ("?ssl_cert_reqs=required", ssl.CERT_REQUIRED, True),
        ("?ssl_check_hostname=false", ssl.CERT_REQUIRED, False),
        ("?ssl_cert_reqs=none", ssl.CERT_NONE, False),
    ],
)
def test_certificates_are_looked_at_as_redis_py_does(option: str, mode: ssl.VerifyMode, checks_name: bool) -> None:
    context = of_url(f"rediss://host/{option}").address.tls
    assert context
    assert (context.verify_mode, context.check_hostname) == (mode, checks_name)


def test_a_client_says_how_to_connect() -> None:
    client = Redis(host="host", port=8, db=1, username="ann", password="secret", decode_responses=True, protocol=3)
    address = of_client(client)
    assert address == Address("host", 8, None, 1, "ann", "secret", 3, connect_s=address.connect_s)
    context = of_client(Redis(host="host", ssl=True, ssl_cert_reqs=None)).tls
    assert context
    assert context.verify_mode == ssl.CERT_NONE


def test_a_client_that_would_be_less_safe_here_is_refused() -> None:
    client = Redis(host="host")
    client.connection_pool.connection_class = SSLConnection
    client.connection_pool.connection_kwargs["ssl_validate_ocsp"] = True
    with pytest.raises(ConfigurationError, match="ssl_validate_ocsp cannot be kept to"):
        of_client(client)
    client = Redis(host="host")
    client.connection_pool.connection_kwargs["credential_provider"] = object()
    with pytest.raises(ConfigurationError, match="credential_provider"):
        of_client(client)
    cluster = RedisCluster(host="host", credential_provider=UsernamePasswordCredentialProvider("name", "secret"))
    with pytest.raises(ConfigurationError, match="credential_provider"):
        seeds_of_client(cluster)


def test_a_client_that_finds_its_server_by_itself_is_refused() -> None:
    """It says no host, and would be taken for one of a server on this host."""
    with pytest.raises(ConfigurationError, match="Sentinel"):
        of_client(Sentinel([("host", 26379)]).master_for("name"))


SECRET = "hush"


@pytest.mark.parametrize(
    "url",
    [
        f"redis://ann:{SECRET}@host/0?prefix=x",
        f"redis://host?password={SECRET}",
        f"redsi://ann:{SECRET}@host",
        f"redis://ann:{SECRET}/{SECRET}?{SECRET}#{SECRET}@host/0",
        f"ann:{SECRET}@host",
        f"redis://ann:{SECRET}@[",
        f"redis://host?password=a@{SECRET}",
        f"redis://ann:a?b@{SECRET}@host",
        f"redis://host?password=a&{SECRET}",
        f"redis+unix://ann:a/{SECRET}@/run/redis",
    ],
)
def test_a_url_that_is_shown_has_no_password(url: str) -> None:
    assert SECRET not in without_secrets(url)
    assert SECRET not in said_of(url)


def test_a_segment_that_is_named_like_a_server_has_no_password_shown() -> None:
    with pytest.raises(ConfigurationError, match="'shm://host' names no shared-memory segment"):
        segment_name(f"shm://ann:{SECRET}@host")


def said_of(url: str) -> str:
    try:
        return repr(storage_of(url).server.address)
    except ConfigurationError as error:
        return f"{error} {error.__cause__}"


def test_what_has_no_secrets_is_shown_as_it_is() -> None:
    assert without_secrets("shm://a?b") == "shm://a?b"
    assert without_secrets("rediss://ann:x@host:1/2?prefix=y") == "rediss://host:1/2"


def test_another_program_is_told_of_a_server_without_its_password() -> None:
    told = signpost(f"redis://ann:{SECRET}@host:1/2?password=a@{SECRET}&prefix=x")
    assert told == "redis://host:1/2?prefix=x"


def test_files_of_tls_are_read_when_the_url_is(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("no certificate")
    with pytest.raises(ConfigurationError, match="options of TLS cannot be used"):
        of_url(f"rediss://host?ssl_ca_certs={tmp_path}/none.pem")


def test_a_signpost_to_a_unix_socket_is_a_url_of_it() -> None:
    url = "redis+unix:///run/redis.sock?prefix=app_"

    assert signpost(url) == url
    assert signpost("redis+unix://ann:secret@/run/redis.sock") == "redis+unix:///run/redis.sock"
