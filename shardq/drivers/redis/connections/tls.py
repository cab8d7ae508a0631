"""How a connection is encrypted: the options are those of redis-py, in a URL or of a client."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from shardq.errors import ConfigurationError

#: Options of redis-py that are taken here.
OPTIONS = (
    "ssl_ca_certs",
    "ssl_ca_data",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_ciphers",
    "ssl_keyfile",
    "ssl_min_version",
    "ssl_password",
)
#: What `ssl_cert_reqs` says where the certificate of the server is not looked at.
_NONE = ("none", "0", str(ssl.CERT_NONE).lower())


def context_of(options: Mapping[str, Any]) -> ssl.SSLContext:
    """Raises `ConfigurationError` for files that cannot be read, and for options that would be left out: a connection
    is never less safe than was asked for.
    """
    unknown = [name for name, value in options.items() if name.startswith("ssl_") and name not in OPTIONS and value]
    if unknown:
        raise ConfigurationError(f"{unknown[0]} cannot be kept to: the options of TLS are {', '.join(OPTIONS)}")
    try:
        return _context(options)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"the options of TLS cannot be used: {error}: look at ssl_ca_certs, ssl_certfile, ssl_keyfile"
        ) from error


def _context(options: Mapping[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(
        cafile=options.get("ssl_ca_certs"), capath=options.get("ssl_ca_path"), cadata=options.get("ssl_ca_data")
    )
    if options.get("ssl_certfile"):
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"), options.get("ssl_password"))
    if options.get("ssl_min_version"):
        context.minimum_version = ssl.TLSVersion(int(options["ssl_min_version"]))
    if options.get("ssl_ciphers"):
        context.set_ciphers(options["ssl_ciphers"])
    looked_at = str(options.get("ssl_cert_reqs", "required")).lower() not in _NONE
    if not looked_at or _is_off(options.get("ssl_check_hostname", True)):
        context.check_hostname = False
    if not looked_at:
        context.verify_mode = ssl.CERT_NONE
    return context


def _is_off(value: object) -> bool:
    """Whether an option is off, which may come of a URL as text."""
    return str(value).lower() in ("false", "no", "0", "n", "f")
