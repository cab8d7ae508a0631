"""Objects whose fields are checked, and read from the environment: what `shardq.settings` is made of.

A library for settings takes longer to import than the rest of this package together, and each process of a family
imports the settings. So the few kinds of fields that they have are here.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from typing import Any, ClassVar, Self

from shardq.errors import ConfigurationError, shown

#: A whole number as text; a fraction of zeros may follow.
_WHOLE = r"([+-]?[0-9]+(?:_[0-9]+)*)(?:\.0+)?"
#: Most characters of a whole number as text.
_MOST_DIGITS = 4300
_TOO_LONG = "Unable to parse input string as an integer, exceeded maximum size"
#: Beyond it no whole number is taken from a number that may have a fraction.
_LARGEST = 1 << 63
#: How much of two names has to be the same, so that one is taken for the other, misspelt.
_ALMOST = 0.8
_TRUE = frozenset(("1", "true", "t", "on", "yes", "y"))
_FALSE = frozenset(("0", "false", "f", "off", "no", "n"))


class Field:
    """A field of a `FromEnvironment`, written as `batch_size: int = whole(128, ge=1)`. `default` is a
    value or a function that makes one; where it is None, the field may be None. `variable` is the environment variable
    where it is not named after the field.
    """

    def __init__(self, default: Any, *, variable: str = "") -> None:
        self._default = default
        self.variable = variable

    @property
    def may_be_none(self) -> bool:
        return self._default is None

    def default(self) -> Any:
        return self._default() if callable(self._default) else self._default

    def checked(self, value: Any) -> Any:
        """What the field keeps for this value. Raises `ValueError` that says what it should be."""
        return None if value is None and self.may_be_none else self._converted(value)

    def _converted(self, value: Any) -> Any:
        raise NotImplementedError


class Text(Field):
    """Text. `check` raises `ValueError` for what cannot be used."""

    def __init__(self, default: Any, *, check: Callable[[str], object] | None = None, variable: str = "") -> None:
        super().__init__(default, variable=variable)
        self._check = check

    def _converted(self, value: Any) -> Any:
        if not isinstance(value, str | bytes | bytearray):
            raise ValueError("Input should be a valid string")
        try:
            # Not `str(value)`: that of an enumeration's member is its name.
            text = str.__str__(value) if isinstance(value, str) else value.decode()
            text.encode()
        except UnicodeError:
            raise ValueError("Input should be a valid string, unable to parse raw data as a unicode string") from None
        if self._check:
            try:
                self._check(text)
            except ValueError as error:
                raise ValueError(f"Value error, {error}") from None
        return text


class OneOf(Field):
    """One of a few texts, of which the first is the default."""

    def __init__(self, *choices: str, default: str | None = None) -> None:
        super().__init__(choices[0] if default is None else default)
        self._choices = choices

    def _converted(self, value: Any) -> Any:
        if isinstance(value, str) and value in self._choices:
            return self._choices[self._choices.index(value)]
        *first, last = map(repr, self._choices)
        raise ValueError(f"Input should be {', '.join(first)} or {last}")


class Flag(Field):
    """True or False; as text also `on`, `yes`, `1` and their opposites."""

    def _converted(self, value: Any) -> Any:
        if isinstance(value, str | bytes):
            word = _text(value).lower()
            if word in _TRUE or word in _FALSE:
                return word in _TRUE
        elif not (_is_number(value) and abs(value) < _LARGEST and value == int(value)):
            raise ValueError("Input should be a valid boolean")
        elif value in (0, 1):
            return bool(value)
        raise ValueError("Input should be a valid boolean, unable to interpret input")


class _Bounded(Field):
    """A number within bounds: greater than `gt`, at least `ge`, at most `le`."""

    def __init__(
        self, default: Any, *, gt: float | None = None, ge: float | None = None, le: float | None = None
    ) -> None:
        super().__init__(default)
        self._bounds = gt, ge, le

    def _converted(self, value: Any) -> Any:
        found, (gt, ge, le) = self._number(value), self._bounds
        if le is not None and found > le:
            raise ValueError(f"Input should be less than or equal to {le}")
        if ge is not None and found < ge:
            raise ValueError(f"Input should be greater than or equal to {ge}")
        if gt is not None and found <= gt:
            raise ValueError(f"Input should be greater than {gt}")
        return found

    def _number(self, value: Any) -> Any:
        raise NotImplementedError


class Whole(_Bounded):
    """A whole number."""

    def _number(self, value: Any) -> int:
        if isinstance(value, int):
            return int(value)
        if isinstance(value, str | bytes):
            return self._of_text(_text(value))
        if not _is_number(value):
            raise ValueError("Input should be a valid integer")
        if not math.isfinite(value):
            raise ValueError("Input should be a finite number")
        if value != int(value):
            raise ValueError("Input should be a valid integer, got a number with a fractional part")
        if abs(value) >= _LARGEST:
            raise ValueError(_TOO_LONG)
        return int(value)

    def _of_text(self, text: str) -> int:
        found = re.fullmatch(_WHOLE, text.strip())
        if not found:
            raise ValueError("Input should be a valid integer, unable to parse string as an integer")
        if len(found[1]) > _MOST_DIGITS:
            raise ValueError(_TOO_LONG)
        return int(found[1])


class Number(_Bounded):
    """A number, with or without a fraction. Infinite only where it has no upper bound."""

    def _number(self, value: Any) -> float:
        try:
            found = float(value) if _is_number(value) else self._of_text(value)
        except OverflowError:
            raise ValueError("Input should be a valid number") from None
        if not math.isfinite(found) and self._bounds[2] is not None:
            raise ValueError("Input should be a finite number")
        return found

    def _of_text(self, value: Any) -> float:
        if not isinstance(value, str | bytes):
            raise ValueError("Input should be a valid number")
        try:
            return float(_text(value).encode("ascii"))
        except ValueError:
            raise ValueError("Input should be a valid number, unable to parse string as a number") from None


#: How fields are written. To a type checker they are any value, so that a field may stand where its value is meant.
flag: Callable[..., Any] = Flag
number: Callable[..., Any] = Number
one_of: Callable[..., Any] = OneOf
text: Callable[..., Any] = Text
whole: Callable[..., Any] = Whole


class FromEnvironment:
    """Base of classes of `Field`s. What an argument does not give, a variable does: `prefix` and the field's name, in
    either case. What no variable gives is the default. A value is checked here, and where it is assigned later.

    Raises `ConfigurationError`, which names all fields that do not fit, and their variables.

    The names that begin with `model_` are those of pydantic's models.
    """

    model_config: ClassVar[dict[str, str]] = {}
    """`env_prefix`: what the names of the variables begin with."""
    model_fields: ClassVar[dict[str, Field]] = {}
    """All fields by name."""
    _given: set[str]

    def __init_subclass__(cls, *, prefix: str, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.model_config = {"env_prefix": prefix}
        cls.model_fields = {name: field for name, field in vars(cls).items() if isinstance(field, Field)}
        for name in cls.model_fields:
            delattr(cls, name)  # a field without a value, after `del`, is an `AttributeError`

    def __init__(self, **values: Any) -> None:
        variables, kept = self._variables(), vars(self)
        given: set[str] = set()
        problems: list[str] = []
        for name, field in self.model_fields.items():
            labels = (field.variable, name) if field.variable else (name,)
            found = [(label, values.pop(label)) for label in reversed(labels) if label in values]
            found += [(label, variables[key]) for label in labels if (key := self._variable(label)) in variables]
            if not found:
                kept[name] = field.default()
                continue
            label, value = found[0]
            try:
                kept[name] = field.checked(value)
                given.add(name)
            except ValueError as error:
                problems.append(self._problem(label, str(error), value))
        problems += [self._problem(name, "Extra inputs are not permitted", value) for name, value in values.items()]
        self._refuse(problems)
        kept["_given"] = given

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            if name not in self.model_fields:
                raise ValueError(f"Object has no attribute {name!r}")
            vars(self)[name] = self.model_fields[name].checked(value)
            self._given.add(name)
        except ValueError as error:
            self._refuse([self._problem(name, str(error), value)])

    @property
    def model_fields_set(self) -> set[str]:
        """Names of the fields that have no default but a value that was given."""
        return self._given

    def model_copy(self, *, update: dict[str, Any] | None = None) -> Self:
        """A copy. The values of `update` are checked, too."""
        copy = object.__new__(type(self))
        vars(copy).update(vars(self), _given=set(self._given))
        for name, value in (update or {}).items():
            setattr(copy, name, value)
        return copy

    def model_dump(self) -> dict[str, Any]:
        """All values by name."""
        return {name: getattr(self, name) for name in self.model_fields}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(self) | {"_given": None} == vars(other) | {"_given": None}

    __hash__ = None  # type: ignore[assignment]  # it can change

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.model_dump().items())})"

    @classmethod
    def descriptions(cls) -> dict[str, str]:
        """The docstrings of the fields, by name, read from the source: for a help text, in the place where they are
        written. Empty where there is no source.
        """
        import ast
        import inspect
        import itertools

        try:
            [body] = (node.body for node in ast.parse(inspect.getsource(cls)).body if isinstance(node, ast.ClassDef))
        except (OSError, SyntaxError):
            return {}
        found = {}
        for field, docstring in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(docstring, ast.Expr):
                found[ast.unparse(field.target)] = " ".join(str(ast.literal_eval(docstring.value)).split())
        return found

    @classmethod
    def variables_of(cls, *fields: str) -> list[str]:
        """Names of the variables of the environment that give values to these fields now."""
        meant = {cls._variable(label) for name in fields for label in (name, cls.model_fields[name].variable or name)}
        return [name for name in os.environ if name.upper() in meant]

    @classmethod
    def misspelt_variables(cls) -> dict[str, str]:
        """Names of variables of the environment that give no field a value, with the one that is almost the same. Those
        of other programs may begin as these do, so others are not told.
        """
        labels = [label for name, field in cls.model_fields.items() for label in (name, field.variable or name)]
        known = {cls._variable(label) for label in labels}
        unknown = [name for name in cls._variables() if name not in known]
        if not unknown:
            return {}
        from difflib import get_close_matches

        begin = len(cls.model_config["env_prefix"])
        ends = {name[begin:]: name for name in known}
        found = {name: get_close_matches(name[begin:], ends, 1, _ALMOST) for name in unknown}
        return {name: ends[ends_so[0]] for name, ends_so in found.items() if ends_so}

    @classmethod
    def _variables(cls) -> dict[str, Any]:
        prefix = cls.model_config["env_prefix"]
        return {key: os.environ[name] for name in os.environ if (key := name.upper()).startswith(prefix)}

    @classmethod
    def _variable(cls, label: str) -> str:
        """The variable for a name, or for what is a variable already."""
        prefix = cls.model_config["env_prefix"]
        return f"{prefix}{label.upper().removeprefix(prefix)}"

    @classmethod
    def _problem(cls, label: str, reason: str, value: Any) -> str:
        return f"{label} (environment {cls._variable(label)}): {reason}, got {shown(value)}"

    @classmethod
    def _refuse(cls, problems: list[str]) -> None:
        if problems:
            raise ConfigurationError(f"{cls.__name__} cannot be used as given: {'; '.join(problems)}") from None


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode(errors="replace")


def _is_number(value: Any) -> bool:
    return hasattr(value, "__float__") and not isinstance(value, str | bytes)
