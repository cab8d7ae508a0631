"""Which user runs this process."""

from __future__ import annotations

import os
import pwd


def user_name() -> str:
    """Its name, and which user became it by `sudo`; the number, where it has no name."""
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    before = os.environ.get("SUDO_USER", name)
    return name if before == name else f"{before} as {name}"
