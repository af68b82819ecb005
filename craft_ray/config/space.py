"""Settings of a search: what varies, around which settings of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from craft_ray.config.distributions import Choice, Distribution, Scalar, Value
from craft_ray.config.run import RunConfig
from craft_ray.config.sampling import Sampling
from craft_ray.config.search_tree import SearchTree
from craft_ray.config.space_laws import problem_of, problems_of
from craft_ray.config.taking_out import take_out
from craft_ray.config.variants import VARIANT, VariantName


class SpaceConfig(Sampling):
    """A search space file."""

    name: str = Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    base: RunConfig = RunConfig()
    """Settings that all trials share."""
    variants: dict[VariantName, dict[str, Any]] = Field(default_factory=dict)
    """Name -> the settings of the run in which trials of this variant differ from the base. Which
    one a trial is, is searched over as the parameter `variant`. `min_shots` beside them: with fewer
    training images a class the variant is left out."""
    parameters: dict[str, Distribution] = Field(default_factory=dict)
    """`section.key` of the run settings -> distribution."""
    first_trials: tuple[dict[str, Value], ...] = ()
    """Points that are tried before the sampler is asked: exactly the parameters that apply."""

    @model_validator(mode="before")
    @classmethod
    def _null_takes_away(cls, document: Any) -> Any:
        """So that one word of a command line takes a shipped variant or parameter out."""
        return take_out(document)

    @field_validator("first_trials")
    @classmethod
    def _read_as_their_parameters(
        cls, points: tuple[dict[str, Scalar], ...], info: ValidationInfo
    ) -> tuple[dict[str, Scalar], ...]:
        parameters: dict[str, Distribution] = info.data.get("parameters", {})
        return tuple(
            {p: parameters[p].read(v) if p in parameters else v for p, v in point.items()}
            for point in points
        )

    @property
    def tree(self) -> SearchTree:
        """The parameters and the conditions under which they apply."""
        searched: dict[str, Distribution] = dict(self.parameters)
        if len(self.variants) > 1:
            searched = {VARIANT: Choice(kind="choice", values=tuple(self.variants)), **searched}
        return SearchTree(self.base.model_dump(mode="json"), self.variants, searched)

    def resolve(self, values: Mapping[str, Scalar]) -> RunConfig:
        """The run settings of a trial: its variant's and its values in place of the base's.

        Raises:
            ValidationError: the values break a law of the run settings.
        """
        return self.tree.resolve(values)

    def problem_of(self, values: Mapping[str, Scalar]) -> str | None:
        """Why no trial can have these values; None: it can. They must be those of exactly the
        parameters that apply, in their ranges, and keep the laws of the run settings together."""
        return problem_of(self.tree, values)

    def is_valid(self, values: Mapping[str, Scalar]) -> bool:
        """Whether a trial can have these values, see `problem_of`."""
        return self.problem_of(values) is None

    @model_validator(mode="after")
    def _all_that_may_be_sampled_is_valid(self) -> Self:
        problems = []
        if not self.parameters and not self.variants:
            problems.append("parameters: must have at least one, or there must be variants")
        if VARIANT in self.parameters:
            problems.append(
                f"parameters.{VARIANT}: must not be given: it is one of the space's `variants`"
            )
        problems = problems or problems_of(self.tree, self.first_trials)
        if self.max_total_queries is not None and self.max_total_queries < self.base.max_queries:
            problems.append(
                "max_total_queries >= max_queries must hold, or no trial can be paid for, "
                f"but got {self.max_total_queries} and {self.base.max_queries}"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self
