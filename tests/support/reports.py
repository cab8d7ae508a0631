"""Reports of tests on their way from the process that ran the test to the one that prints them."""

from __future__ import annotations

from typing import Any


def sendable(data: Any) -> Any:
    """The same with every text in such a form that it can be sent: UTF-8 has no lone surrogates, and what a test
    prints on purpose may have some.
    """
    if isinstance(data, str):
        return data.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(data, dict):
        return {sendable(key): sendable(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return type(data)(map(sendable, data))
    return data
