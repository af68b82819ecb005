"""Settings of a search: what varies, around which settings of a run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from craft_ray.config.base import Settings
from craft_ray.config.documents import describe_problems, set_by_path
from craft_ray.config.run import RunConfig
from craft_ray.config.sampling import Sampling

SEARCHABLE_SECTIONS = ("fidelity", "head", "loss", "method", "optimizer", "prompt")

NOT_SEARCHABLE = {
    "fidelity.preset": "search its switches instead",
    "fidelity.fitness_images": "all trials share one set of images that candidates are scored on",
    "prompt.start": "all trials start from the same prompt",
}

Scalar = bool | int | float | str


Number = TypeVar("Number", int, float)


class Range(Settings, Generic[Number]):
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

    def corners(self) -> tuple[Scalar, ...]:
        """One step on as well: a setting that must be even would take 8 and 16, but not 9."""
        return (self.low, min(self.low + self.step, self.high), self.high)


class Choice(Settings):
    """One of the listed values."""

    kind: Literal["choice"]
    values: tuple[Scalar, ...] = Field(min_length=2)

    def corners(self) -> tuple[Scalar, ...]:
        return self.values


Distribution = Annotated[Uniform | LogUniform | IntUniform | Choice, Field(discriminator="kind")]


class SpaceConfig(Sampling):
    """A search space file."""

    name: str = Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    base: RunConfig = RunConfig()
    """Settings that all trials share."""
    parameters: dict[str, Distribution] = Field(min_length=1)
    """`section.key` of the run settings -> distribution."""
    first_trials: tuple[dict[str, Scalar], ...] = ()
    """Points that are tried before the sampler is asked."""

    def resolve(self, values: dict[str, Scalar]) -> RunConfig:
        """The run settings of a trial.

        Raises:
            ValidationError: the values break a law of the run settings.
        """
        document = self.base.model_dump(mode="json")
        for path, value in values.items():
            set_by_path(document, path, value)
        return RunConfig.model_validate(document)

    @model_validator(mode="after")
    def _parameters_are_valid_settings(self) -> Self:
        problems = list(self._problems()) or list(self._problems_of_pairs())
        if self.max_total_queries is not None and self.max_total_queries < self.base.max_queries:
            problems.append(
                "max_total_queries >= max_queries must hold, or no trial can be paid for, "
                f"but got {self.max_total_queries} and {self.base.max_queries}"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        defaults: dict[str, Any] = self.base.model_dump(mode="json")
        for path, distribution in self.parameters.items():
            section = path.split(".")[0]
            if section not in SEARCHABLE_SECTIONS:
                yield (
                    f"parameters.{path}: must belong to one of {', '.join(SEARCHABLE_SECTIONS)}, "
                    "because all trials share one pool and its image sets"
                )
                continue
            if path in NOT_SEARCHABLE:
                yield f"parameters.{path}: cannot be searched: {NOT_SEARCHABLE[path]}"
                continue
            if not _is_leaf(defaults, path):
                yield f"parameters.{path}: is not a setting of a run"
                continue
            for corner in distribution.corners():
                yield from self._problems_of_point({path: corner}, f"parameters.{path}")
        for index, point in enumerate(self.first_trials):
            where = f"first_trials.{index}"
            missing = sorted(self.parameters.keys() - point.keys())
            unknown = sorted(point.keys() - self.parameters.keys())
            if missing or unknown:
                yield (
                    f"{where}: must give exactly the searched parameters, but misses {missing} "
                    f"and adds {unknown}"
                )
                continue
            for path, value in point.items():
                if not _contains(self.parameters[path], value):
                    yield f"{where}.{path}: must lie in the parameter's range, but got {value!r}"
            yield from self._problems_of_point(point, where)

    def _problems_of_pairs(self) -> Iterator[str]:
        """Laws between two parameters, each of which is valid alone."""
        for (path, one), (other_path, other) in itertools.combinations(self.parameters.items(), 2):
            for value, other_value in itertools.product(one.corners(), other.corners()):
                yield from self._problems_of_point(
                    {path: value, other_path: other_value}, f"parameters.{path} and {other_path}"
                )

    def _problems_of_point(self, values: dict[str, Scalar], where: str) -> Iterator[str]:
        try:
            self.resolve(values)
        except ValidationError as error:
            yield from (f"{where}: {problem}" for problem in describe_problems(error))


def _is_leaf(document: dict[str, Any], path: str) -> bool:
    node: Any = document
    for key in path.split("."):
        if not isinstance(node, dict) or key not in node:
            return False
        node = node[key]
    return not isinstance(node, dict)


def _contains(distribution: Distribution, value: Scalar) -> bool:
    if isinstance(distribution, Choice):
        return value in distribution.values
    if isinstance(value, str | bool):
        return False
    if isinstance(distribution, IntUniform) and (value - distribution.low) % distribution.step:
        return False
    return distribution.low <= value <= distribution.high
