"""What a searched setting may be, and when it applies."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import BeforeValidator, Field, field_validator, model_validator

from craft_ray.config.base import Settings
from craft_ray.config.documents import shorten

Scalar = bool | int | float | str

MAX_INT = 2**53
"""Beyond it floats, and so JSON, do not tell whole numbers apart."""
MAX_CHOICES = 1000
MAX_SHOWN = 20
"""Values of a choice that a message lists."""


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal to a reader: 1 is 1.0, but not true."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _read_value(value: Any) -> Any:
    """YAML 1.1 takes `1e-3` for a word, as it has no point."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", value):
        value = float(value)
    if not isinstance(value, bool | int | float | str):
        raise ValueError(f"must be a number, a word, true or false, but got {shorten(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"must be a finite number, but got {value}")
    return value


Value = Annotated[Scalar, BeforeValidator(_read_value)]
"""A value as a file of settings gives it."""

Number = TypeVar("Number", int, float)


class Parameter(Settings):
    """What every distribution has."""

    when: dict[str, tuple[Value, ...]] = Field(default_factory=dict)
    """The parameter is sampled only where all of these hold: `variant`, another parameter or any
    other setting of the run -> the value, or the list of values, that it must have."""

    @field_validator("when", mode="before")
    @classmethod
    def _one_value_is_a_list_of_one(cls, when: Any) -> Any:
        if not isinstance(when, dict):
            return when
        return {
            path: values if isinstance(values, list | tuple) else (values,)
            for path, values in when.items()
        }

    @field_validator("when")
    @classmethod
    def _some_value_is_named(cls, when: dict[str, Any]) -> dict[str, Any]:
        for path, values in when.items():
            if not values:
                raise ValueError(f"{path}: must name at least one value, but got []")
        return when


class Range(Parameter, Generic[Number]):
    """low < high, both included."""

    low: Number
    high: Number

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low < high must hold, but got low={self.low} and high={self.high}")
        return self

    @property
    def law(self) -> str:
        """Of its values, in words."""
        return f"must lie in {self.low}..{self.high}"

    def read(self, value: Scalar) -> Scalar:
        """A value as a file gives it, as one of the range, if it can be read so."""
        if isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                return value
        return value

    def corners(self) -> tuple[Scalar, ...]:
        """Values whose validity stands for the whole range."""
        return (self.low, self.high)

    def contains(self, value: Scalar) -> bool:
        """Whether the value may be sampled."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.low <= value <= self.high


class FloatRange(Range[float]):
    """A range of floats."""

    def corners(self) -> tuple[Scalar, ...]:
        """An integer setting would take 10.0 and 40.0, but not what lies between."""
        between = self.low + (self.high - self.low) / math.pi
        return (self.low, between, self.high)


class Uniform(FloatRange):
    """A float in [low, high]."""

    kind: Literal["uniform"]


class LogUniform(FloatRange):
    """A float in [low, high], uniform in its logarithm."""

    kind: Literal["log_uniform"]
    low: float = Field(gt=0)


class IntUniform(Range[int]):
    """An integer in [low, high] in steps of `step`."""

    kind: Literal["int_uniform"]
    low: int = Field(ge=-MAX_INT, le=MAX_INT)
    high: int = Field(ge=-MAX_INT, le=MAX_INT)
    step: int = Field(1, ge=1, le=MAX_INT)

    @property
    def values(self) -> Sequence[int]:
        """All of them, of which there may be too many for a list."""
        return range(self.low, self.high + 1, self.step)

    @property
    def law(self) -> str:
        """Of its values, in words."""
        return f"must lie in {self.low}..{self.high} in steps of {self.step}"

    def read(self, value: Scalar) -> Scalar:
        """A value as a file gives it, as one of the range, if it can be read so."""
        value = super().read(value)
        is_whole = isinstance(value, float) and value.is_integer()
        return int(value) if is_whole else value

    def corners(self) -> tuple[Scalar, ...]:
        """One step on as well: a setting that must be even would take 8 and 16, but not 9."""
        values = self.values
        return tuple(dict.fromkeys((values[0], values[min(1, len(values) - 1)], values[-1])))

    def contains(self, value: Scalar) -> bool:
        """Whether the value may be sampled."""
        return super().contains(value) and value in self.values


class Choice(Parameter):
    """One of the listed values."""

    kind: Literal["choice"]
    values: tuple[Value, ...] = Field(max_length=MAX_CHOICES)

    @field_validator("values")
    @classmethod
    def _each_is_there_once(cls, values: tuple[Scalar, ...]) -> tuple[Scalar, ...]:
        if len(values) < 2:
            raise ValueError(f"must have at least 2 items, but got {[*values]}")
        first: dict[Scalar, Scalar] = {}
        for value in values:
            # 1, 1.0 and true are the same to Python, and the sampler would see one value.
            if value in first:
                raise ValueError(f"must differ, but got {first[value]!r} and {value!r}")
            first[value] = value
        return values

    @property
    def law(self) -> str:
        """Of its values, in words."""
        shown = [f"{value}" for value in self.values[:MAX_SHOWN]]
        more = len(self.values) - MAX_SHOWN
        return f"must be one of {', '.join(shown)}" + (f" and {more} more" if more > 0 else "")

    def read(self, value: Scalar) -> Scalar:
        """A value as a file gives it, as one of those listed, if it is equal to one."""
        return next((own for own in self.values if is_same(own, value)), value)

    def corners(self) -> tuple[Scalar, ...]:
        """All values."""
        return self.values

    def contains(self, value: Scalar) -> bool:
        """Whether the value may be sampled."""
        return any(is_same(own, value) for own in self.values)


Distribution = Annotated[Uniform | LogUniform | IntUniform | Choice, Field(discriminator="kind")]
