"""Settings of a model behind an HTTP endpoint. Imports neither torch nor Ray."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator

from craft_ray.config.base import Settings
from craft_ray.config.places import PathText
from craft_ray.config.secrets import conceal, is_masked

DIALECTS = (
    "infinity",
    "vllm",
    "nim",
    "jina",
    "hf_zero_shot",
    "hf_sagemaker",
    "hf_vertex",
    "cohere_v2",
    "vllm_cohere_v2",
    "kserve_v2",
    "craft_ray",
)
GIVES_FEATURES = ("infinity", "vllm", "nim", "jina", "cohere_v2", "vllm_cohere_v2")
"""Dialects whose endpoints answer with embeddings."""
NAMES_A_MODEL = ("infinity", "vllm", "nim", "jina", "cohere_v2", "vllm_cohere_v2", "kserve_v2")
"""Dialects whose requests name the model."""
_OWN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_VARIABLE = re.compile(r"[A-Za-z_]\w*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

Count = Annotated[int, Field(ge=1)]
Money = Annotated[float, Field(ge=0)]


def _as_text(value: Any) -> Any:
    """YAML reads `2` and `2026-11-01` as something else."""
    return str(value) if isinstance(value, int | float | date) else value


class LimitsConfig(Settings):
    """What one request may have, and how fast requests may come. Null: the dialect's own limit, if
    one is known."""

    images: Count | None = None
    texts: Count | None = None
    """Of a request for the features of texts."""
    labels: Count | None = None
    """Texts that images are compared with in one request."""
    contexts: Count | None = None
    """Soft prompts; dialect `craft_ray` only."""
    bytes: Count | None = None
    """Of a request's body."""
    answer_bytes: Count | None = None
    """Of an answer; dialect `craft_ray` only."""
    text_characters: Count | None = None
    """Of one text. Most endpoints cut what is too long and do not say so."""
    requests_per_minute: Count | None = None
    units_per_minute: Count | None = None
    """Images, texts or pairs of both."""
    concurrency: Count | None = None
    """Requests at a time. Null: as many as the endpoint answers well, at most 64."""


class PricesConfig(Settings):
    """What the endpoint charges for each unit; null for what it does not charge."""

    request: Money | None = None
    image: Money | None = None
    text: Money | None = None
    pair: Money | None = None
    """A score of one image with one text."""
    token: Money | None = None
    """As the endpoint counts them and says so in its answers."""
    currency: str = Field("USD", pattern=r"^[A-Z]{3}$")


class EndpointConfig(Settings):
    """A model behind an HTTP endpoint (docs/endpoints.md)."""

    kind: Literal["http"]
    """`http`: a model that somebody serves."""
    dialect: str
    """What the endpoint speaks: `infinity`, `vllm`, `nim`, `jina` (OpenAI's `/embeddings` with
    images), `hf_zero_shot`, `hf_sagemaker`, `hf_vertex` (zero-shot image classification),
    `cohere_v2`, `vllm_cohere_v2`, `kserve_v2`, `craft_ray`, or `my.module:Adapter`."""
    url: str
    """Such as `https://host/v1`; without a key or a password."""
    model: str = ""
    """As the endpoint names it."""
    revision: Annotated[str, BeforeValidator(_as_text)] = ""
    """Of the model, if its owner gives one. Answers that were paid for are kept under it: change it
    when the owner changes the model."""
    api_key_env: str | None = None
    """Name of the environment variable that has the key. Null: no key."""
    api_key_file: PathText | None = None
    """A file that has the key, which only its owner may read (mode 0600)."""
    api_key_header: str = "Authorization"
    """That the key is sent in; `Authorization` sends `Bearer KEY`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Of the dialect, such as `dimensions` or `sigmoid` (docs/endpoints.md)."""
    limits: LimitsConfig = LimitsConfig()
    prices: PricesConfig = PricesConfig()
    tokens_per_image: Count | None = None
    """The most that one image counts as, for `max_cost` where tokens have a price."""
    logit_scale: Annotated[float, Field(gt=0)] | None = None
    """logits = logit_scale * cosine, where the owner says it. Null: it is fitted to the training
    images."""
    image_size: int = Field(224, ge=1)
    """Side of the augmented views that are cropped here. Whole images are sent as their files."""
    timeout_s: float = Field(60.0, gt=0)
    """For one answer."""
    longest_wait_s: float = Field(120.0, ge=0)
    """An endpoint that asks to wait longer, or answers nothing for so long, ends the run, which
    `--resume` continues."""
    max_attempts: int = Field(8, ge=1)
    """Tries of one request; none where the refusal is final (401, 403, 422 ...)."""
    keep_answers: bool = True
    """Keep paid answers for later runs, beside the runs in `output_dir`; a second look at one costs
    nothing."""
    answers_folder: PathText | None = None
    """Where they are kept. Null: `answers` in `output_dir`."""
    answers_mb: int = Field(4096, ge=1)
    """Limit of that folder; the oldest go first."""

    @field_validator("dialect")
    @classmethod
    def _is_known(cls, dialect: str) -> str:
        if dialect not in DIALECTS and not _OWN.fullmatch(dialect):
            raise ValueError(
                f"must be one of {', '.join(DIALECTS)}, or my.module:Adapter, but got {dialect!r}"
            )
        return dialect

    @field_validator("url")
    @classmethod
    def _has_no_secrets(cls, url: str) -> str:
        masked = conceal(url)
        if masked != url or is_masked(url):
            raise ValueError(
                "must be without a key or password: name the variable that has it by "
                f"oracle.api_key_env, but got {masked!r}"
            )
        try:
            parts = urlsplit(url)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
            _ = parts.port
        except ValueError:
            is_address = False
        if not is_address or parts.fragment or any(c.isspace() for c in url):
            raise ValueError(f"must be such as https://host/v1, but got {url!r}")
        return url

    @field_validator("api_key_env")
    @classmethod
    def _is_a_name(cls, name: str | None) -> str | None:
        if name is not None and not _VARIABLE.fullmatch(name):
            raise ValueError(
                "must be the name of an environment variable, and not the key itself, but got "
                f"{len(name)} characters that are none"
            )
        return name

    @field_validator("api_key_header")
    @classmethod
    def _is_a_header(cls, name: str) -> str:
        if not _HEADER.fullmatch(name):
            raise ValueError(f"must be the name of an HTTP header, but got {name!r}")
        return name

    @model_validator(mode="after")
    def _one_key_and_a_model(self) -> Self:
        if self.api_key_env is not None and self.api_key_file is not None:
            raise ValueError(
                "api_key_env and api_key_file must not both be given, but got "
                f"{self.api_key_env!r} and {self.api_key_file!r}"
            )
        if self.dialect in NAMES_A_MODEL and not self.model:
            raise ValueError(f"model must be given for dialect {self.dialect}, but got none")
        return self

    @property
    def has_prices(self) -> bool:
        """Whether anything is charged."""
        prices = self.prices
        units = (prices.request, prices.image, prices.text, prices.pair, prices.token)
        return any(price for price in units)
