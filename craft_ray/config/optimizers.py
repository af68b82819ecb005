"""Settings of the zeroth-order optimizers. Imports neither torch nor Ray.

Whatever the kind that searches z, `sigma` is the spread of the candidates around the centre of the
search, in z.
Sources, equations and what differs from them: docs/optimizers.md.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, field_validator, model_validator

from craft_ray.config.base import Settings
from craft_ray.config.prompt_words import SLOT, WORDS
from craft_ray.config.words import unprintable

StepSizeRule = Literal["csa", "tpa"]


class PopulationConfig(Settings):
    """What every optimizer has."""

    population: int = Field(40, ge=4)
    """Candidates that are asked for at a time; each is one query, in batches a part of one."""


class SamplingConfig(PopulationConfig):
    """What every optimizer has that draws points z."""

    batches: int = Field(1, ge=1)
    """Parts of the training images, alike in their classes and drawn anew for each pass. A
    generation scores its candidates on one of them: with 8 there are 8 times as many generations
    for the same queries, and as many more prompts for the oracle to encode. With fewer shots
    there are as many as shots."""
    bound: Annotated[float, Field(gt=0)] | None = 5.0
    """|z_i| <= bound, or null."""


class CmaEsConfig(SamplingConfig):
    """CMA-ES through pycma."""

    kind: Literal["cma_es"] = "cma_es"
    sigma: float = Field(0.1, gt=0)
    """Initial step size: the perturbation scale of the search in z."""
    step_size_rule: StepSizeRule = "csa"


class SepCmaEsConfig(SamplingConfig):
    """Separable CMA-ES: the covariance is a diagonal, which is learnt faster."""

    kind: Literal["sep_cma_es"] = "sep_cma_es"
    sigma: float = Field(0.1, gt=0)
    """Initial step size."""
    step_size_rule: StepSizeRule = "csa"


class VkdCmaEsConfig(SamplingConfig):
    """Limited-memory CMA-ES: a diagonal and a few directions, whose number is adapted. Its step
    size has a two-point rule of its own."""

    kind: Literal["vkd_cma_es"] = "vkd_cma_es"
    sigma: float = Field(0.1, gt=0)
    """Initial step size."""


class PairedConfig(SamplingConfig):
    """What every optimizer has that asks on both sides of its centre."""

    population: int = Field(10, ge=4)
    """Candidates that are asked for at a time, an even number; each is one query. Few at a time is
    many steps: BlackVIP and ZIP average five pairs, too."""

    @field_validator("population")
    @classmethod
    def _candidates_are_pairs(cls, population: int) -> int:
        if population % 2:
            raise ValueError(
                "must be even, because candidates are pairs on both sides of the centre, but got "
                f"{population}"
            )
        return population


class GainConfig(PairedConfig):
    """The gain sequences of SPSA: step a_k = a / (A + k + 1)^alpha, spread c_k = c / (k + 1)^gamma,
    in generation k = 0, 1, ... Decays and A are those of BlackVIP and ZIP."""

    sigma: float = Field(0.01, gt=0)
    """c."""
    sigma_decay: float = Field(0.1, ge=0, le=1)
    """gamma."""
    learning_rate: float = Field(0.01, gt=0)
    """a."""
    learning_rate_decay: float = Field(0.4, ge=0, le=1)
    """alpha."""
    stability: float = Field(1.0, ge=0)
    """A, in generations: holds the first steps back."""


class SpsaConfig(GainConfig):
    """Simultaneous perturbation with Spall's gains."""

    kind: Literal["spsa"] = "spsa"
    sigma_decay: float = Field(0.101, ge=0, le=1)
    """gamma."""
    learning_rate: float = Field(0.3, gt=0)
    """a."""
    learning_rate_decay: float = Field(0.602, ge=0, le=1)
    """alpha."""
    stability: float = Field(20.0, ge=0)
    """A, in generations: holds the first steps back. Spall: a tenth of the generations or less."""


class SpsaGcConfig(GainConfig):
    """SPSA with gradient correction, BlackVIP's: a Nesterov momentum on the estimates."""

    kind: Literal["spsa_gc"] = "spsa_gc"
    learning_rate: float = Field(0.001, gt=0)
    """a."""
    momentum: float = Field(0.9, gt=0, lt=1)
    """Share of the accumulated estimates that is kept."""


class ZipConfig(GainConfig):
    """ZIP's: z is a low-rank matrix with a shared row, and clipped SPSA searches its factors, whose
    spread is `sigma`."""

    kind: Literal["zip"] = "zip"
    blocks: int = Field(8, ge=2)
    """Rows that z is cut into; ZIP has one for each context token."""
    rank: int = Field(5, ge=1)
    """Of the matrix of these rows."""

    @model_validator(mode="after")
    def _rank_is_low(self) -> Self:
        if self.rank > self.blocks:
            raise ValueError(
                f"rank <= blocks must hold, but got rank={self.rank} and blocks={self.blocks}"
            )
        return self


class ZoAdamConfig(PairedConfig):
    """Two-sided random gradient estimates with Adam."""

    kind: Literal["zo_adam"] = "zo_adam"
    learning_rate: float = Field(0.03, gt=0)
    sigma: float = Field(0.01, gt=0)
    """Of the Gaussian smoothing."""
    directions: Literal["gaussian", "orthogonal"] = "orthogonal"
    """`orthogonal`: those of a generation are at right angles, up to the dimension of z."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """Memory of the mean of the estimates."""
    beta2: float = Field(0.999, ge=0, lt=1)
    """Memory of the mean of their squares."""


class SharpZoConfig(PairedConfig):
    """SharpZO's: CMA-ES on losses beside the candidates, where they are worse, then descent by
    two-sided estimates on a part of the coordinates."""

    kind: Literal["sharp_zo"] = "sharp_zo"
    population: int = Field(20, ge=4)
    """Candidates that are asked for at a time, an even number; each is one query."""
    warm_up_generations: int = Field(200, ge=1)
    """Of CMA-ES; the descent has the rest."""
    sigma: float = Field(0.1, gt=0)
    """Initial step size of CMA-ES."""
    sharpness_radius: float = Field(0.1, ge=0)
    """rho: how far beside a candidate its loss is asked for, as a length in z; 0: CMA-ES alone."""
    learning_rate: float = Field(0.1, gt=0)
    """Of the descent."""
    descent_sigma: float = Field(0.01, gt=0)
    """Spread of the pairs of the descent."""
    pruned_share: float = Field(0.1, ge=0, lt=1)
    """Share of the coordinates that the descent leaves alone."""
    mask_every_generations: int = Field(20, ge=1)
    """After so many generations one is spent on all coordinates, to choose the pruned ones anew."""


class RandomSearchConfig(SamplingConfig):
    """Independent draws, of which the best is kept: the floor for every other optimizer."""

    kind: Literal["random_search"] = "random_search"
    sigma: float = Field(0.1, gt=0)
    """Spread of the draws in z."""


def _check_word(word: str) -> str:
    if not word.strip() or "{" in word or "}" in word:
        raise ValueError(f"must be words without braces, but got {word[:40]!r}")
    if (character := unprintable(word)) is not None:
        raise ValueError(f"must have printable characters only, but has {character}")
    return word


def _check_frame(frame: str) -> str:
    if frame.count("{}") != 1 or re.search(r"[{}]", frame.replace("{}", "").replace(SLOT, "")):
        raise ValueError(
            f"must have {{}} once, for the class name, and any number of {SLOT}, for words, but "
            f"got {frame[:80]!r}"
        )
    if not frame.partition("{}")[0].strip():
        raise ValueError(f"must have a word or {SLOT} before {{}}, but got {frame[:80]!r}")
    if (character := unprintable(frame)) is not None:
        raise ValueError(f"must have printable characters only, but has {character}")
    return frame


class TextConfig(PopulationConfig):
    """A search over the words of a template, for models that take text only: `method: prompt`. Not
    z is searched but which frame, and which word in each of its places."""

    kind: Literal["text"] = "text"
    population: int = Field(20, ge=4)
    """Templates that are asked for at a time; each is one query, unless it was asked before."""
    elite: int = Field(10, ge=1)
    """So many of the best templates so far are changed and crossed to get new ones."""
    words: tuple[Annotated[str, AfterValidator(_check_word)], ...] = ()
    """Words to draw from. Default: some for photographs and some for what they show."""
    frames: tuple[Annotated[str, AfterValidator(_check_frame)], ...] = ()
    """Templates with `{w}` where words are put, as in `a {w} photo of a {}.`; always with them:
    `data.template` with a word before the class name. Default: common ones."""

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The words, each once."""
        return tuple(dict.fromkeys(self.words or WORDS))


def _kind_of(value: Any) -> str:
    kind = value.get("kind", "cma_es") if isinstance(value, dict) else getattr(value, "kind", "")
    return str(kind)


SoftOptimizerConfig = (
    CmaEsConfig
    | SepCmaEsConfig
    | VkdCmaEsConfig
    | SpsaConfig
    | SpsaGcConfig
    | ZipConfig
    | ZoAdamConfig
    | SharpZoConfig
    | RandomSearchConfig
)
"""Of those that search z."""

OptimizerConfig = Annotated[
    Annotated[CmaEsConfig, Tag("cma_es")]
    | Annotated[SepCmaEsConfig, Tag("sep_cma_es")]
    | Annotated[VkdCmaEsConfig, Tag("vkd_cma_es")]
    | Annotated[SpsaConfig, Tag("spsa")]
    | Annotated[SpsaGcConfig, Tag("spsa_gc")]
    | Annotated[ZipConfig, Tag("zip")]
    | Annotated[ZoAdamConfig, Tag("zo_adam")]
    | Annotated[SharpZoConfig, Tag("sharp_zo")]
    | Annotated[RandomSearchConfig, Tag("random_search")]
    | Annotated[TextConfig, Tag("text")],
    Discriminator(_kind_of),
]
"""`kind` may be left out: it is then CMA-ES."""
