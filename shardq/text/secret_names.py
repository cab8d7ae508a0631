"""Which names of fields say that their values are secret, and what stands in the place of such a value."""

from __future__ import annotations

import re

#: Stands for a value that is not shown.
MASK = "***"
#: A field is secret if its name is one of these or ends with one, in one or many, whatever case and separators it has.
_WORDS = (
    *("password", "passwd", "secret", "token", "apikey", "authorization"),
    *("credential", "cookie", "privatekey"),
)
_SEPARATORS = re.compile(r"[\W_]+")
_USUAL = re.compile(f"(?:{'|'.join(_WORDS)})s?$")


def plain_name(name: str) -> str:
    """The name without case and separators: `api_key`, `Api-Key` and `apiKey` are the same."""
    return _SEPARATORS.sub("", name).casefold()


def is_secret(name: str) -> bool:
    """Whether the name is one of the usual names of secrets, as `password`, `access_token` or `X-Api-Key`."""
    return bool(_USUAL.search(plain_name(name)))
