"""How a search chooses its trials, what it compares, and when it stops one."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from craft_ray.config.base import Settings
from craft_ray.config.places import PlaceText, absolute, is_address
from craft_ray.config.secrets import conceal, is_masked

Objective = Literal["accuracy", "queries", "calibration_error", "predictions_per_image"]
"""Validation accuracy of what is returned (higher is better); candidate queries of the trial;
expected calibration error on validation data; what one image costs its user after deployment."""


class TpeSampler(Settings):
    """Optuna's tree-structured Parzen estimator."""

    kind: Literal["tpe"] = "tpe"
    startup_trials: int = Field(4, ge=1)
    """Random trials before the model is used."""
    multivariate: bool = False
    """Model the parameters together (Falkner et al., ICML 2018, BOHB) instead of one by one."""


class GpSampler(Settings):
    """Optuna's Gaussian process: the fewest trials where there are few parameters."""

    kind: Literal["gp"] = "gp"
    startup_trials: int = Field(4, ge=1)


class CmaEsSampler(Settings):
    """CMA-ES over the numeric parameters of the search; a TPE samples the others."""

    kind: Literal["cma_es"] = "cma_es"
    startup_trials: int = Field(4, ge=1)


class Nsga3Sampler(Settings):
    """NSGA-III (Deb & Jain, 2014), for several objectives."""

    kind: Literal["nsga3"] = "nsga3"
    population: int = Field(8, ge=2)
    """Trials of a generation; the first one is random."""


class RandomSampler(Settings):
    """Optuna's independent sampling."""

    kind: Literal["random"] = "random"


Sampler = Annotated[
    TpeSampler | GpSampler | CmaEsSampler | Nsga3Sampler | RandomSampler,
    Field(discriminator="kind"),
]


class AshaScheduler(Settings):
    """Asynchronous successive halving; its resource is candidate queries."""

    kind: Literal["asha"] = "asha"
    grace_queries: int = Field(400, ge=1)
    """No trial is stopped before it has spent this much."""
    reduction_factor: float = Field(2.0, gt=1)


class MedianScheduler(Settings):
    """Stops a trial whose best is below the median of the others' means at the same number of
    candidate queries (Golovin et al., KDD 2017, Vizier)."""

    kind: Literal["median"] = "median"
    grace_queries: int = Field(400, ge=1)
    """No trial is stopped before it has spent this much."""
    min_trials: int = Field(3, ge=1)
    """With fewer to compare with, none is stopped."""


class NoScheduler(Settings):
    """Every trial runs to the end of its budget."""

    kind: Literal["none"] = "none"


Scheduler = Annotated[AshaScheduler | MedianScheduler | NoScheduler, Field(discriminator="kind")]


class EarlierSearch(Settings):
    """The finished trials of a search of this project."""

    kind: Literal["search"]
    path: PlaceText
    """Its folder, where its `summary.json` is."""


class EarlierStudy(Settings):
    """The completed trials of an Optuna study. Its values are the objectives, in their order."""

    kind: Literal["study"]
    storage: str = Field(min_length=1)
    """A file, of SQLite or of Optuna's journal, or the URL of a database."""
    study: str = Field(min_length=1)
    """Its name there."""

    @field_validator("storage")
    @classmethod
    def _without_credentials(cls, storage: str) -> str:
        masked = conceal(storage)
        if masked != storage or is_masked(storage):
            raise ValueError(
                "must be without credentials: they belong into the environment, such as "
                f"PGPASSWORD, but got {masked!r}"
            )
        return storage if is_address(storage) else absolute(storage)


EarlierTrials = Annotated[EarlierSearch | EarlierStudy, Field(discriminator="kind")]


class Sampling(Settings):
    """The part of a search space that says how it is walked."""

    trials: int = Field(8, ge=1)
    max_concurrent_trials: int = Field(2, ge=1)
    max_total_queries: int | None = Field(None, ge=1)
    """Candidate queries of all trials together; a trial is started only if what is left pays for
    all that it may spend. None: the trials' own budgets."""
    objectives: tuple[Objective, ...] = ("accuracy",)
    """What is sought. With several, the summary has the Pareto front, and the trial of the highest
    validation accuracy is the best."""
    sampler: Sampler = TpeSampler()
    scheduler: Scheduler = AshaScheduler()
    warm_start: tuple[EarlierTrials, ...] = ()
    """Trials of earlier searches that the sampler knows from the start; they cost nothing."""

    @model_validator(mode="after")
    def _fits_the_objectives(self) -> Self:
        problems = []
        if "accuracy" not in self.objectives or len({*self.objectives}) < len(self.objectives):
            problems.append(
                "objectives: must be different ones with accuracy among them, "
                f"but got {', '.join(self.objectives) or 'none'}"
            )
        if len(self.objectives) > 1:
            if self.scheduler.kind != "none":
                problems.append(
                    "scheduler.kind: must be none with several objectives, "
                    f"but got {self.scheduler.kind}"
                )
            if self.sampler.kind == "cma_es":
                problems.append("sampler.kind: must not be cma_es with several objectives")
        if problems:
            raise ValueError("; ".join(problems))
        return self
