"""Certificates for one test: an authority, and a server on the loopback that it vouches for."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path


class Certificates:
    """Files in a folder."""

    def __init__(self, folder: Path, name: str = "localhost") -> None:
        self.authority = folder / "authority.pem"
        self._server, self._key = folder / "server.pem", folder / "server.key"
        its_key, wish, extra = folder / "authority.key", folder / "wish.pem", folder / "extra"
        # Python 3.13 and later want all that RFC 5280 does.
        extra.write_text(f"subjectAltName=DNS:{name}\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
        kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        signs = ("-days", "2", "-subj", "/CN=tests", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        _openssl("req", "-x509", *kind, *signs, "-keyout", its_key, "-out", self.authority)
        _openssl("req", "-new", *kind, "-subj", f"/CN={name}", "-keyout", self._key, "-out", wish)
        signed_by = ("-CA", self.authority, "-CAkey", its_key, "-CAcreateserial")
        _openssl("x509", "-req", "-in", wish, *signed_by, "-days", "2", "-extfile", extra, "-out", self._server)

    def of_server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._server, self._key)
        return context


def _openssl(*words: str | Path) -> None:
    program = shutil.which("openssl")
    assert program, "tests of TLS make their certificates with the program openssl: install it"
    done = subprocess.run((program, *words), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
