"""Settings of the black box and of its replicas. Imports neither torch nor Ray."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    PositiveFloat,
    Tag,
    field_validator,
    model_validator,
)

from craft_ray.config.base import Settings
from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.places import WeightsText, absolute, expand_home

Auto = Literal["auto"]
ResizeMode = Literal["shortest", "longest", "squash"]
Interpolation = Literal["bicubic", "bilinear"]
LOADED_HERE = "open_clip"
"""The kind of a model where none is said."""
SERVICE_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
SMALLEST_SHARE = 0.0001
"""Of a resource, that Ray's books know."""


class OracleConfig(Settings):
    """The black box: an open_clip model that is loaded here."""

    kind: Literal["open_clip"] = "open_clip"
    """`open_clip`, or `http` for a model behind an endpoint."""
    model: str = "embedded"
    """`embedded`, an open_clip model name (`ViT-B-32`), or `local-dir:<folder>`."""
    pretrained: WeightsText | None = None
    """An open_clip tag (`laion2b_s34b_b79k`) or a checkpoint file, for a model name."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of the matrix products of both towers; predictions are always float32. `auto`: fp32 on a CPU;
    on a GPU bf16 if it computes in it (Ampere and newer), else fp32, which is never TensorFloat-32.
    A classifier names what it was tuned with."""
    text_path: Literal["auto", "shared_prefix", "plain"] = "auto"
    """`shared_prefix` computes a candidate's context once for all classes and no padding; exact for
    causal towers. `plain` asks the model's own `encode_text`. `auto`: the fast one where a probe at
    load proves it exact."""
    max_tokens_per_forward: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Bounds the memory of one text forward, whatever the population and the number of classes; a
    single prompt is always computed. `auto`: 8,192 on a CPU; on a GPU what an eighth of its
    memory holds, a power of two and at most 131,072. Half as many where memory is not enough."""
    images_per_forward: Annotated[int, Field(ge=1)] | Auto = "auto"
    """`auto`: 6 on a CPU, whose caches then hold the activations (a third faster than 8 or 32),
    256 on a GPU."""
    feature_cache_mb: int = Field(1024, ge=1)
    """Image features that one copy of the model keeps; the set asked for longest ago goes first."""
    image_mean: tuple[float, float, float] | None = None
    """Of red, green and blue (0 to 1), which is subtracted from each image. null: what stands with
    the weights, or what all published weights of this model have; a run that can't know asks for
    it."""
    image_std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = None
    """Standard deviations, by which it is then divided. null: as `image_mean`."""
    resize_mode: ResizeMode | None = None
    """How an image becomes a square: `shortest` resizes the short side and crops the centre,
    `longest` resizes the long side and pads, `squash` resizes both. null: as `image_mean`."""
    interpolation: Interpolation | None = None
    """Of that: `bicubic` or `bilinear`. null: as `image_mean`."""
    features: bool = False
    """The owner's permission to give features of images and texts, as endpoints do that answer with
    embeddings: what `head.kind: features` sees. It opens nothing else of the model."""
    white_box: bool = False
    """The owner's permission to give gradients, and features as well, for the baselines that
    black-box tuning is compared with."""

    @property
    def serves_features(self) -> bool:
        """Whether features can be asked for, as far as the settings tell."""
        return self.features or self.white_box

    @field_validator("model")
    @classmethod
    def _folder_is_absolute(cls, model: str) -> str:
        kind, separator, folder = model.partition(":")
        return f"local-dir:{absolute(folder)}" if separator and kind == "local-dir" else model

    @model_validator(mode="after")
    def _weights_are_named_once(self) -> Self:
        has_own_weights = self.model == "embedded" or self.model.startswith("local-dir:")
        if has_own_weights and self.pretrained is not None:
            raise ValueError(
                f"pretrained must be null for model {self.model!r}, which brings its own weights, "
                f"but got {self.pretrained!r}"
            )
        if not has_own_weights and self.pretrained is None:
            if os.path.isdir(expand_home(self.model)):
                raise ValueError(
                    "model must be local-dir:<folder> for a model in a folder, but got "
                    f"{self.model!r}: oracle.model=local-dir:{self.model}"
                )
            if "/" in self.model:
                raise ValueError(
                    f"model must be a name of open_clip.list_models(), but got {self.model!r}: "
                    "OpenAI's and Hugging Face's clip-vit-base-patch32 is oracle.model=ViT-B-32 "
                    "oracle.pretrained=openai"
                )
            raise ValueError(
                f"pretrained must name a tag or a checkpoint file for model {self.model!r}, but "
                "got null: oracle.pretrained=openai takes the weights that OpenAI has published"
            )
        return self


def _kind_of(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("kind", LOADED_HERE))
    return str(getattr(value, "kind", ""))


AnyOracleConfig = Annotated[
    Annotated[OracleConfig, Tag("open_clip")] | Annotated[EndpointConfig, Tag("http")],
    Discriminator(_kind_of),
]
"""`kind` may be left out: the model is then loaded here."""


class PoolConfig(Settings):
    """Replicas of the oracle and how a population is spread over them."""

    attach: Annotated[str, Field(pattern=SERVICE_NAME_PATTERN)] | None = None
    """Name of a pool that is up on the same cluster (`craft-ray serve`, its `name`), which is asked
    in place of one of our own; its replicas are as their owner has set them."""
    replicas: Annotated[int, Field(ge=1)] | Auto = "auto"
    """`auto` follows the nodes of the cluster as they come and go: one for each GPU, or without
    GPUs one for two CPUs of a node, at most four; with `max_replicas` it also asks an autoscaler
    for nodes. A number is placed by Ray and kept."""
    min_replicas: int = Field(1, ge=0)
    """Kept while nothing is asked. 0 gives everything back, and the next query waits for a node."""
    max_replicas: Annotated[int, Field(ge=1)] | None = None
    """The most that `auto` asks an autoscaler for, when queries queue; what it brings costs money,
    so nothing is asked for unless this bound is set. Needs a number > 0 in `gpus_per_replica`:
    answers must not depend on whether a GPU was already there."""
    give_back_after_s: float = Field(300.0, gt=0)
    """Replicas that queries could have done without for so long are ended, so that the autoscaler
    can take their nodes."""
    cpus_per_replica: float = Field(0.1, ge=SMALLEST_SHARE)
    """Ray's bookkeeping share; the real use is `threads_per_replica`."""
    gpus_per_replica: Annotated[float, Field(ge=0)] | Auto = "auto"
    """`auto`: 1 where the cluster has GPUs when the run starts, else 0. A share is one of a single
    GPU."""
    threads_per_replica: Annotated[int, Field(ge=1)] | Auto = "auto"
    """CPU threads of a replica. `auto`: a node's CPUs shared by the replicas that `replicas: auto`
    gives it, whatever `replicas` is, because the number of threads shows in the last bits; 1 with
    `max_replicas`, whose nodes are not there yet."""
    candidates_per_chunk: int = Field(10, ge=1)
    """Fixed by configuration, never by the number of replicas: answers stay bit-identical."""
    max_chunks_in_flight: int = Field(2, ge=1)
    """Chunks that one client may have waiting at one replica (back-pressure)."""
    max_attempts: int = Field(8, ge=1)
    """Tries of one chunk. Between tries at the same replica the rest doubles, from 0.5 s. Two are
    enough where the replica says that the question itself fails."""
    chunk_timeout_s: float = Field(600.0, gt=0)
    """A replica that has not got on with its work for so long is replaced, and its chunks are
    answered by others. Time in its queue does not count, nor the first encoding of images, in which
    each one is a step."""
    start_timeout_s: float = Field(900.0, gt=0)
    """Until the replicas must have loaded the model; an autoscaler may have to bring a node. So
    long a query waits for a pool that has no replica."""

    @field_validator("gpus_per_replica")
    @classmethod
    def _ray_can_give_it(cls, gpus: float | Auto) -> float | Auto:
        if gpus == "auto" or gpus == 0 or SMALLEST_SHARE <= gpus <= 1 or float(gpus).is_integer():
            return gpus
        raise ValueError(
            f"must be a whole number of GPUs, or a share of one >= {SMALLEST_SHARE}, but got {gpus}"
        )

    @model_validator(mode="after")
    def _what_is_asked_for_is_known(self) -> Self:
        if self.max_replicas is None:
            return self
        if self.replicas != "auto":
            raise ValueError(
                f"max_replicas must be null when replicas is a number, but got {self.max_replicas} "
                f"and {self.replicas}"
            )
        if self.gpus_per_replica == "auto" or self.gpus_per_replica == 0:
            raise ValueError(
                "gpus_per_replica must be a number > 0 with max_replicas, but got "
                f"{self.gpus_per_replica!r}"
            )
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas <= max_replicas must hold, but got {self.min_replicas} and "
                f"{self.max_replicas}"
            )
        return self
