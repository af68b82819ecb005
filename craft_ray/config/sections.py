"""Smaller sections of a run's settings. Imports neither torch nor Ray."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from craft_ray.config.base import Settings
from craft_ray.config.places import PathText, expand_home
from craft_ray.config.secrets import conceal

REGISTERED_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,199}$"


class LossConfig(Settings):
    """Weights of the two consistency terms (lambda_I and lambda_O of the paper)."""

    prompt_consistency: float = Field(0.01, ge=0)
    head_consistency: float = Field(0.01, ge=0)
    head_consistency_share: float = Field(1.0, gt=0, le=1)
    """The head's term is dropped after this share of the query budget, the present generation
    counted: the authors' n is the share 1 / n, so n = 4 is 0.25."""


class WhiteBoxConfig(Settings):
    """Prompt tuning by gradients (CoOp), the comparison."""

    steps: int = Field(400, ge=1)
    """Of Adam, each on one view of all training images."""
    learning_rate: float = Field(1e-2, gt=0)
    """At the start; it falls as a cosine to zero."""


class AnswerCacheConfig(Settings):
    """Answers of earlier runs, by content; off by default."""

    folder: PathText | None = None
    """Where they are kept; a rerun then asks nothing that was answered before, and pays nothing."""
    max_mb: int = Field(1024, ge=1)
    """Limit of the folder; the files written longest ago go first."""


class MlflowConfig(Settings):
    """Experiment tracking."""

    enabled: bool = True
    tracking_uri: str | None = None
    """Default: sqlite in the output folder, as an absolute address. Credentials in it are masked
    here; the tracker of the process that read them knows them."""
    experiment: str = Field("craft-ray", min_length=1)
    register_as: Annotated[str, Field(pattern=REGISTERED_NAME_PATTERN)] | None = None
    """Name in MLflow's registry under which the classifier of the run becomes a new version. The
    version with the highest validation accuracy has the alias `champion`. Default: none."""

    @field_validator("tracking_uri")
    @classmethod
    def _credentials_stay_outside(cls, uri: str | None) -> str | None:
        return None if uri is None else conceal(expand_home(uri))


class RayConfig(Settings):
    """Where Ray runs and what a trial asks of it."""

    address: str | None = None
    """A running cluster. Default: RAY_ADDRESS, and without it a Ray of our own on this machine."""
    num_cpus: Annotated[int, Field(ge=1)] | None = None
    """CPUs of our own local Ray. Default: all that this process may use."""
    object_store_mb: int = Field(1024, ge=80)
    """Object store of our own local Ray."""
    dashboard: bool = False
    """Whether our own local Ray has its dashboard, on 127.0.0.1:8265."""
    cpus_per_worker: float = Field(0.3, gt=0)
    """Of each slot: the Ray Train worker that runs fine-tunings, one after another."""
    cpus_per_trial: float = Field(0.1, gt=0)
    """The process of a search's trial, which waits for its job."""
