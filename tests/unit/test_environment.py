"""Fields of settings take what pydantic's fields take, and refuse the rest in the same words."""

from __future__ import annotations

import copy
import math
import pickle
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from shardq.environment import Field as Own
from shardq.environment import FromEnvironment, flag, number, one_of, text, whole
from shardq.errors import ConfigurationError, shown


class Word(StrEnum):
    WAIT = "wait"
    OTHER = "other"


def _short(value: str) -> str:
    if len(value) > 3:
        raise ValueError("give at most three letters")
    return value


KINDS = {
    "text": (text(""), str),
    "short text": (text("", check=_short), Annotated[str, AfterValidator(_short)]),
    "text or None": (text(None), str | None),
    "choice": (one_of("wait", "raise"), Literal["wait", "raise"]),
    "choice of three": (one_of("wait", "raise", "drop"), Literal["wait", "raise", "drop"]),
    "flag": (flag(False), bool),
    "whole": (whole(0), int),
    "whole within bounds": (whole(0, ge=0, le=1000), Annotated[int, Field(ge=0, le=1000)]),
    "whole or None": (whole(None, ge=1), Annotated[int | None, Field(ge=1)]),
    "number": (number(0.0), float),
    "number within bounds": (number(1, gt=0, le=1000), Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]),
}

VALUES: list[Any] = [
    *(0, 1, -1, 2, 7, 1001, True, False, None, 10**21, 10**400, -(10**5000), 1 << 63),
    *(0.0, 1.0, 7.0, 1.5, -0.5, 1e300, math.inf, -math.inf, math.nan, Decimal("7"), Decimal("7.5")),
    *("", "7", " 7 ", "\n7\n", "+7", "-0", "00007", "7.0", "7.", "7.5", ".5", "5e", "1e3", "1e400", "0x10", "\u0667"),
    *("1_000", "_1", "0_1", "1__0", "9" * 30, "9" * 5000, "inf", "-inf", "Infinity", "nan", "many", "1001"),
    *("true", "True", " true", "YES", "on", "off", "t", "n", "wait", "WAIT", "raise", Word.WAIT, Word.OTHER),
    *(b"7", b"many", b"\xff", [], {}, object),
]


def outcome(convert: Any, value: Any) -> Any:
    try:
        found = convert(value)
    except ValidationError as error:
        return [item["msg"] for item in error.errors()]
    except ValueError as error:
        return [str(error)]
    return type(found), str(found) if isinstance(found, float) else found  # no nan is equal to another


@pytest.mark.parametrize(("own", "kind"), KINDS.values(), ids=list(KINDS))
def test_a_field_does_what_pydantic_does(own: Own, kind: Any) -> None:
    pydantic = TypeAdapter(kind)
    for value in VALUES:
        assert outcome(own.checked, value) == outcome(pydantic.validate_python, value), shown(value)


class Sizes(FromEnvironment, prefix="QUEUE_SIZES_"):
    width: int = whole(3, ge=1)
    """How wide
    it is."""
    loud: bool = flag(False, variable="QUEUE_SIZES_NOISE")

    label: str | None = text(None)
    """What it is called."""


@pytest.mark.parametrize("variable", ["QUEUE_SIZES_WIDTH", "queue_sizes_width"])
def test_a_variable_counts_in_either_case(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "7")

    assert Sizes().width == 7


@pytest.mark.parametrize("variable", ["QUEUE_SIZES_NOISE", "QUEUE_SIZES_LOUD"])
def test_a_variable_of_another_name_counts_beside_the_usual(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "on")

    assert Sizes().loud is True


def test_all_that_does_not_fit_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_SIZES_WIDTH", "0")

    with pytest.raises(ConfigurationError) as refused:
        Sizes(label=5, height=1)

    assert str(refused.value) == (
        "Sizes cannot be used as given: "
        "width (environment QUEUE_SIZES_WIDTH): Input should be greater than or equal to 1, got '0'; "
        "label (environment QUEUE_SIZES_LABEL): Input should be a valid string, got 5; "
        "height (environment QUEUE_SIZES_HEIGHT): Extra inputs are not permitted, got 1"
    )


def test_what_was_given_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_SIZES_WIDTH", "7")
    sizes = Sizes(label="a")

    sizes.loud = True

    assert sizes.model_fields_set == {"width", "label", "loud"}
    assert Sizes(width=1).model_fields_set == {"width"}


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda sizes: pickle.loads(pickle.dumps(sizes)), Sizes.model_copy]
)
def test_a_copy_is_equal_and_its_own(copied: Any) -> None:
    sizes = Sizes(width=5)
    other = copied(sizes)
    assert (other, other.model_fields_set) == (sizes, {"width"})

    other.width = 6

    assert (sizes.width, other.width, other == sizes) == (5, 6, False)


def test_it_shows_its_values() -> None:
    assert repr(Sizes(label="a")) == "Sizes(width=3, loud=False, label='a')"
    assert Sizes(label="a").model_dump() == {"width": 3, "loud": False, "label": "a"}


def test_descriptions_are_the_docstrings() -> None:
    assert Sizes.descriptions() == {"width": "How wide it is.", "label": "What it is called."}
