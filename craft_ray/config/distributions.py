"""What a searched setting may be, and when it applies."""

from __future__ import annotations

import math
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from craft_ray.config.base import Settings

Scalar = bool | int | float | str

Number = TypeVar("Number", int, float)


class Parameter(Settings):
    """What every distribution has."""

    when: dict[str, tuple[Scalar, ...]] = Field(default_factory=dict)
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
    step: int = Field(1, ge=1)

    @property
    def values(self) -> range:
        """All of them."""
        return range(self.low, self.high + 1, self.step)

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
    values: tuple[Scalar, ...] = Field(min_length=2)

    def corners(self) -> tuple[Scalar, ...]:
        """All values."""
        return self.values

    def contains(self, value: Scalar) -> bool:
        """Whether the value may be sampled."""
        return value in self.values


Distribution = Annotated[Uniform | LogUniform | IntUniform | Choice, Field(discriminator="kind")]
