"""Names of secrets, and texts in which values with such names are written out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import pydantic
import pytest

from shardq.errors import shown
from shardq.text import portrait
from shardq.text.secret_names import is_secret, without_secrets

SECRET = "hunter2"


@pytest.mark.parametrize(
    "name",
    [
        *("password", "passwd", "secret", "token", "api_key", "apikey", "authorization", "credential", "cookie"),
        *("private_key", "PASSWORD", "Api-Key", "apiKey", "X-Auth-Token", "access_token", "db.password", "credentials"),
    ],
)
def test_usual_names_are_secret(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["user", "secretary", "tokenizer", "key", "password_length", "pass", ""])
def test_other_names_are_not(name: str) -> None:
    assert not is_secret(name)


class Plain(NamedTuple):
    user: str
    password: str = SECRET


@dataclass
class Data:
    token: str = SECRET
    inner: Any = None


class Struct(msgspec.Struct):
    api_key: str = SECRET
    inner: Any = None


class Model(pydantic.BaseModel):
    cookie: str = SECRET
    hidden: pydantic.SecretStr = pydantic.SecretStr(SECRET)


VALUES = [
    Plain("Ann"),
    Data(),
    Struct(),
    Model(),
    {"password": SECRET},
    {"a": [{"Api-Key": SECRET}]},
    Data(inner=Struct()),
]
VALUES += [Struct(inner={"secret": {"of": SECRET}}), [Plain("Ann")], {"token": [SECRET]}]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_errors_show_values_without_them(value: Any) -> None:
    assert SECRET not in shown(value)
    assert SECRET not in portrait.text(ValueError(f"bad request: {value!r}"))
    assert "***" in shown(value)


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("a password='it\\'s', n=1", "a password=***, n=1"),
        ('{"token": b"x", "n": 1}', '{"token": ***, "n": 1}'),
        ("pin=4711 token=47 x", "pin=4711 token=*** x"),
        ("password=None", "password=None"),
        ("a(secret={'of': [Key(x=')', y=(1))]}, n=2)", "a(secret=***, n=2)"),
        ("a(secret=Key('cut", "a(secret=***"),
        ("password='cut o", "password=***"),
        ("secretary='Ann': 5", "secretary='Ann': 5"),
        ("nothing here", "nothing here"),
    ],
)
def test_only_the_values_go(text: str, without: str) -> None:
    assert without_secrets(text) == without
    assert without_secrets(without) == without


def test_what_pydantic_refuses_is_not_shown() -> None:
    class Login(pydantic.BaseModel):
        password: int
        count: int

    with pytest.raises(pydantic.ValidationError) as refused:
        Login.model_validate({"password": SECRET, "count": "many"})
    text = portrait.text(refused.value)
    assert SECRET not in text
    assert "input_value='many'" in text


def test_the_end_of_a_long_secret_is_not_shown_where_the_middle_is_cut() -> None:
    """Its name may be in that, which would have said what the end is."""
    error = ValueError(f"no job is Job(inner={'x' * 3000!r}, api_key={SECRET * 400!r})")
    assert SECRET not in portrait.text(error)
    assert portrait.line(error).endswith("', api_key=***)")


def test_what_pydantic_refuses_as_a_whole_is_not_shown_where_it_is_cut() -> None:
    """In its middle, where the name may be that says what the end is."""

    class Login(pydantic.BaseModel):
        holder: str
        password: str
        pin: str

        @pydantic.model_validator(mode="after")
        def _fails(self) -> Login:
            raise ValueError("no")

    with pytest.raises(pydantic.ValidationError) as refused:
        Login(holder="bad", password=SECRET, pin="4711")
    assert re.search(rf"'pass\w*\.\.\.{SECRET}'", str(refused.value))
    text = portrait.text(refused.value)
    assert SECRET not in text
    assert "Value error, no [type=value_error, input_value=***, input_type=dict]" in text
