"""Where requests have secrets, told by their type, and how they are hidden."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple, TypedDict

import msgspec
import pydantic
import pytest

from shardq import Handler
from shardq.cli.views import View
from shardq.encoding.codec import MsgspecSerializer
from shardq.encoding.generic import readable
from shardq.encoding.secrets import NO_SECRETS, Secrets, masked, secrets_of
from shardq.errors import HandlerError
from shardq.functions.apply import Apply, Task
from shardq.handling.info import check_usable, info_of
from shardq.model import handler_name
from shardq.text.secret_names import MASK


class Login(NamedTuple):
    user: str
    password: str


@dataclass
class Data:
    login: Login
    more: dict[str, Login]


class Packed(msgspec.Struct, tag="packed", array_like=True):
    number: int
    apiKey: str  # noqa: N815 - as others write it
    pin: int = 5


class Renamed(msgspec.Struct, rename="camel"):
    access_token: str
    card_pin: int = 7


class Model(pydantic.BaseModel):
    digits: pydantic.SecretStr
    codes: list[pydantic.SecretBytes] = []
    login: Login | None = None
    next: Model | None = None


class Rooted(pydantic.RootModel[list[Model]]):
    pass


class Framed(pydantic.BaseModel):
    text: pydantic.Json[list[Model]]
    number: int = 5


class Typed(TypedDict):
    cookie: str
    user: str


class Tree(msgspec.Struct):
    left: Tree | None = None
    right: Tree | None = None
    values: dict[str, Tree] = {}


ANN = Login("Ann", "hunter2")
DIGITS = pydantic.SecretStr("47")
MODEL = Model(digits=DIGITS, codes=[pydantic.SecretBytes(b"1")], login=ANN)
SHOWN = {"digits": "***", "codes": ["***"], "login": ["Ann", "***"], "next": None}
CASES: list[tuple[Any, Any, Any]] = [
    (Login, ANN, ["Ann", "***"]),
    (list[Login], [ANN, ANN], [["Ann", "***"]] * 2),
    (tuple[int, Login], (1, ANN), [1, ["Ann", "***"]]),
    (Data, Data(ANN, {"a": ANN}), {"login": ["Ann", "***"], "more": {"a": ["Ann", "***"]}}),
    (Packed, Packed(1, "key"), ["packed", 1, "***", "***"]),
    (Renamed, Renamed("key"), {"accessToken": "***", "cardPin": 7}),
    (Typed, {"cookie": "a", "user": "b"}, {"cookie": "***", "user": "b"}),
    (Login | None, ANN, ["Ann", "***"]),
    (Model, MODEL, SHOWN),
    (
        dict[str, Any],
        {"Pin": 1, "a": [{"token": "b"}], "token": None},
        {"Pin": "***", "a": [{"token": "***"}], "token": None},
    ),
    (int, 5, 5),
    (pydantic.RootModel[pydantic.SecretStr], pydantic.RootModel[pydantic.SecretStr](DIGITS), "***"),
    (Rooted, Rooted([MODEL]), [SHOWN]),
    (deque[pydantic.SecretStr], deque([DIGITS]), ["***"]),
    (OrderedDict[str, pydantic.SecretStr], OrderedDict(a=DIGITS), {"a": "***"}),
    (Sequence[deque[pydantic.SecretStr]], [deque([DIGITS])], [["***"]]),
    (Annotated[deque[pydantic.SecretStr], "noted"], deque([DIGITS]), ["***"]),
    (dict[str, deque[Login]], {"a": deque([ANN])}, {"a": [["Ann", "***"]]}),
    (Framed, Framed(text='[{"digits": "47"}]'), {"text": "***", "number": 5}),
]


@pytest.mark.parametrize(("kind", "request_", "shown"), CASES, ids=[str(kind) for kind, *_ in CASES])
def test_secrets_are_hidden_by_type_and_name(kind: Any, request_: Any, shown: Any) -> None:
    [message] = MsgspecSerializer().encode(kind, [request_])
    assert readable(message, secrets_of(kind, ("pin",))) == shown
    content = msgspec.msgpack.decode(message)
    assert readable(message, secrets_of(kind, ("pin",)), reveal=True) == content


def test_without_the_type_usual_names_are_hidden() -> None:
    [message] = MsgspecSerializer().encode(Model, [MODEL])
    assert readable(message)["digits"] == "47"
    assert readable(msgspec.msgpack.encode({"password": "a", "Set-Cookie": ["b"], "n": 1})) == {
        "password": "***",
        "Set-Cookie": "***",
        "n": 1,
    }


def test_a_type_that_holds_itself_has_its_secrets_hidden_however_deep() -> None:
    deep = MODEL
    for _ in range(30):
        deep = Model(digits=pydantic.SecretStr("4711"), next=deep)
    [message] = MsgspecSerializer().encode(Model, [deep])
    assert "4711" not in str(readable(message, secrets_of(Model)))
    assert secrets_of(Tree) == NO_SECRETS


def test_what_is_known_of_secrets_is_stored() -> None:
    known = secrets_of(Model, ("pin",))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(known), type=Secrets) == known


def test_all_is_hidden_where_too_many_places_would_be_noted() -> None:
    many = msgspec.defstruct("Many", [(f"at{n}", Login) for n in range(300)])
    assert masked(msgspec.to_builtins(many(*[ANN] * 300)), secrets_of(many)) == "***"


class Charges(Handler[Login]):
    secret_fields: ClassVar[tuple[str, ...]] = ("user",)

    def perform(self, *logins: Login) -> Login: ...  # type: ignore[empty-body]


def test_a_handler_names_further_fields() -> None:
    assert info_of(Charges).secrets == Secrets(("user",), ((0,), (1,)))


def test_an_item_of_a_function_is_hidden_and_so_is_what_lets_it_be_called() -> None:
    [item] = MsgspecSerializer().encode(Login, [Login("ann", "hunter2")])
    [message] = MsgspecSerializer().encode(Task, [Task("app:log_in", b"proof of it", item, 7)])
    hidden = ["app:log_in", MASK, MASK, 7]
    assert readable(message, info_of(Apply).secrets) == hidden
    assert View().request(message, handler_name(Apply)) == hidden  # which knows no application


@pytest.mark.parametrize("wrong", ["token", ["token"], (5,), None])
def test_what_are_no_names_is_refused(wrong: Any) -> None:
    class Wrong(Charges):
        secret_fields = wrong

    with pytest.raises(HandlerError, match=r"secret_fields must be a tuple of names, as \('token',\)"):
        check_usable(Wrong)
