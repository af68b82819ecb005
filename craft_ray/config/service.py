"""Settings of `craft-ray serve`. Imports neither torch nor Ray."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from craft_ray.config.base import Settings
from craft_ray.config.oracle import SERVICE_NAME_PATTERN, OracleConfig, PoolConfig
from craft_ray.config.places import PathText
from craft_ray.config.sections import MlflowConfig, RayConfig

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class GivenAwayConfig(Settings):
    """What of the model's answers leaves the house: enough exact logits of free texts span all
    that the model's features show of images (docs/serving.md)."""

    kind: Literal["logits", "probabilities"] = "logits"
    """`probabilities`: logarithms of the softmax over the classes of the question, which tell
    nothing of how well an image fits all of them together."""
    decimals: Annotated[int, Field(ge=1, le=6)] | None = None
    """Of the probabilities. null: all. Needs `kind: probabilities`."""
    top_k: Annotated[int, Field(ge=1)] | None = None
    """Classes of an image whose probability is told; the others share the rest evenly. null: all.
    Needs `kind: probabilities`."""
    scores: bool = True
    """Whether losses are computed here (`/v1/score`), which saves traffic. They are exact whatever
    `kind` says, so `kind: probabilities` with `decimals` or `top_k` needs `scores: false`."""
    labels: tuple[Annotated[str, Field(min_length=1)], ...] | None = None
    """The only class names that may be asked about. null: any."""
    soft_prompts: bool = True
    """Whether contexts other than the template's own are answered."""
    hugging_face: bool = False
    """Whether `POST /hf` answers as a zero-shot pipeline of Hugging Face."""
    embeddings: bool = False
    """Whether `/v1/embeddings` gives features, in OpenAI's form; needs `oracle.features: true`."""

    @model_validator(mode="after")
    def _what_is_limited_is_limited_everywhere(self) -> Self:
        limited = self.decimals is not None or self.top_k is not None
        if limited and self.kind != "probabilities":
            raise ValueError(
                "kind must be probabilities when decimals or top_k is given, but got 'logits'"
            )
        if limited and self.scores:
            raise ValueError(
                "scores must be false when decimals or top_k is given, because losses are exact, "
                "but got true"
            )
        if self.embeddings and (limited or self.labels is not None):
            raise ValueError(
                "embeddings must be false when decimals, top_k or labels is given, because they "
                "give more than that, but got true"
            )
        return self


class BoundsConfig(Settings):
    """What one request, and one key, may take."""

    body_mb: int = Field(64, ge=1)
    """Of a request or an answer, in MB of 10^6 bytes; checked while a body is read."""
    image_mb: int = Field(20, ge=1)
    """Of one image's file."""
    image_megapixels: int = Field(64, ge=1)
    """Of one image, by its header, before it is decoded."""
    images_per_key: int = Field(200_000, ge=1)
    """Registered images that are kept for a key; of more, the one asked about longest ago goes."""
    images_mb_per_key: int = Field(10_000, ge=1)
    tasks_per_key: int = Field(10_000, ge=1)
    requests_at_a_time: int = Field(64, ge=1)
    """Of all keys, of which one has three quarters at most, with `keys`; more wait."""
    requests_waiting: int = Field(128, ge=0)
    """More are refused with 429 and Retry-After."""
    timeout_s: float = Field(900.0, gt=0)
    """Of a request; what was computed by then is kept for its repetition."""
    keep_answers_h: float = Field(24.0, gt=0)
    """How long an answer is kept for a repeated Idempotency-Key."""


class TuningServiceConfig(Settings):
    """Fine-tunings for users."""

    enabled: bool = True
    at_a_time: int = Field(1, ge=1)
    """Fine-tunings that run at a time; the others wait, and keys take turns."""
    file_mb: int = Field(512, ge=1)
    """Of an uploaded file."""
    files_mb_per_key: int = Field(5_000, ge=1)
    images_per_file: int = Field(50_000, ge=1)
    most_queries: int = Field(20_000, ge=1)
    """The largest budget of candidate queries of a fine-tuning."""


class ServiceConfig(Settings):
    """A model that is offered to others."""

    name: Annotated[str, Field(pattern=SERVICE_NAME_PATTERN)] = "service"
    """Under which `pool.attach` finds the pool on the same cluster."""
    folder: PathText = "service"
    """Where all of it is kept: images, answers, files, fine-tunings."""
    keys: PathText | None = None
    """The file of `craft-ray keys`. null: one caller without a key, on this machine only."""
    host: str = "127.0.0.1"
    """Another than loopback needs `keys`, and `tls_cert` with `tls_key`, or `behind_proxy`."""
    port: int = Field(8080, ge=1, le=65535)
    tls_cert: PathText | None = None
    """A PEM file, the server's certificate first."""
    tls_key: PathText | None = None
    behind_proxy: bool = False
    """A proxy of the owner's takes TLS connections and passes them on."""
    oracle: OracleConfig = OracleConfig()
    pool: PoolConfig = PoolConfig()
    gives: GivenAwayConfig = GivenAwayConfig()
    bounds: BoundsConfig = BoundsConfig()
    tuning: TuningServiceConfig = TuningServiceConfig()
    mlflow: MlflowConfig = MlflowConfig()
    ray: RayConfig = RayConfig()

    @model_validator(mode="after")
    def _others_need_keys(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError(
                "tls_cert and tls_key must be given together, but got "
                f"{self.tls_cert!r} and {self.tls_key!r}"
            )
        if self.host not in LOOPBACK:
            if self.keys is None:
                raise ValueError(
                    f"keys must be a file when host is not loopback, but got null and {self.host!r}"
                )
            if self.tls_cert is None and not self.behind_proxy:
                raise ValueError(
                    "tls_cert and tls_key must be given when host is not loopback, or "
                    f"behind_proxy=true where a proxy takes TLS, but host is {self.host!r}"
                )
        if self.mlflow.register_as is not None:
            raise ValueError(
                "mlflow.register_as must be null, because each key's classifier would become a "
                f"version of the same model, but got {self.mlflow.register_as!r}"
            )
        if self.pool.attach is not None:
            raise ValueError(
                "pool.attach must be null, because a service has a pool of its own, but got "
                f"{self.pool.attach!r}"
            )
        if self.gives.embeddings and not self.oracle.serves_features:
            raise ValueError(
                "oracle.features must be true when gives.embeddings is true, but got false"
            )
        return self
