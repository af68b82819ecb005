"""Settings of one fine-tuning run. Imports neither torch nor Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from craft_ray.config.base import Settings
from craft_ray.config.budget import resolve_max_queries
from craft_ray.config.data import DataConfig
from craft_ray.config.fidelity import FidelityConfig
from craft_ray.config.heads import HeadConfig, ProbingHeadConfig, ResidualMlpConfig
from craft_ray.config.optimizers import (
    CmaEsConfig,
    OptimizerConfig,
    SepCmaEsConfig,
    SharpZoConfig,
)
from craft_ray.config.places import PlaceText
from craft_ray.config.prompts import PromptConfig
from craft_ray.config.secrets import conceal

Auto = Literal["auto"]
Method = Literal["both", "prompt", "head", "white_box"]
RUN_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"


class OracleConfig(Settings):
    """The black box."""

    model: str = "embedded"
    """`embedded`, an open_clip model name (`ViT-B-32`), or `local-dir:<folder>`."""
    pretrained: str | None = None
    """An open_clip tag (`laion2b_s34b_b79k`) or a checkpoint file, for a model name."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the matrix products of both towers; predictions are always float32."""
    text_path: Literal["auto", "shared_prefix", "plain"] = "auto"
    """`shared_prefix` computes a candidate's context once for all classes and no padding; exact for
    causal towers. `plain` asks the model's own `encode_text`. `auto`: the fast one where a probe at
    load proves it exact."""
    max_tokens_per_forward: int = Field(8192, ge=1)
    """Bounds the memory of one text forward, whatever the population and the number of classes; a
    single prompt is always computed."""
    images_per_forward: Annotated[int, Field(ge=1)] | Auto = "auto"
    """`auto`: 8 on a CPU, whose caches then hold the activations (measured twice as fast as 64),
    256 on a GPU."""
    feature_cache_mb: int = Field(1024, ge=1)
    """Image features that one copy of the model keeps; the set asked for longest ago goes first."""
    white_box: bool = False
    """The owner's permission to give gradients and image features, for the baselines that black-box
    tuning is compared with."""

    @model_validator(mode="after")
    def _weights_are_named_once(self) -> Self:
        has_own_weights = self.model == "embedded" or self.model.startswith("local-dir:")
        if has_own_weights and self.pretrained is not None:
            raise ValueError(
                f"pretrained must be null for model {self.model!r}, which brings its own weights, "
                f"but got {self.pretrained!r}"
            )
        if not has_own_weights and self.pretrained is None:
            raise ValueError(
                f"pretrained must name a tag or a checkpoint file for model {self.model!r}: "
                "an oracle with random weights answers nothing useful"
            )
        return self


class PoolConfig(Settings):
    """Replicas of the oracle and how a population is spread over them."""

    replicas: Annotated[int, Field(ge=1)] | Auto = "auto"
    """`auto` follows the nodes of the cluster as they come and go: one for each GPU, or without
    GPUs one for each CPU of a node, at most four; with `max_replicas` it also asks an autoscaler
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
    cpus_per_replica: float = Field(0.1, gt=0)
    """Ray's bookkeeping share; the real use is `threads_per_replica`."""
    gpus_per_replica: Annotated[float, Field(ge=0)] | Auto = "auto"
    """`auto`: 1 where the cluster has GPUs when the run starts, else 0."""
    threads_per_replica: Annotated[int, Field(ge=1)] | Auto = "auto"
    """CPU threads of a replica. `auto`: a node's CPUs shared by the replicas that `replicas: auto`
    gives it, whatever `replicas` is, because the number of threads shows in the last bits; 1 with
    `max_replicas`, whose nodes are not there yet."""
    candidates_per_chunk: int = Field(10, ge=1)
    """Fixed by configuration, never by the number of replicas: answers stay bit-identical."""
    max_chunks_in_flight: int = Field(2, ge=1)
    """Chunks that one client may have waiting at one replica (back-pressure)."""
    max_attempts: int = Field(8, ge=1)
    """Tries of one chunk. Between tries at the same replica the rest doubles, from 0.5 s, so that
    the default outlasts the restart of a single replica."""
    chunk_timeout_s: float = Field(600.0, gt=0)
    start_timeout_s: float = Field(900.0, gt=0)
    """Until the replicas must have loaded the model; an autoscaler may have to bring a node. So
    long a query waits for a pool that has no replica."""

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

    folder: str | None = None
    """Where they are kept; a rerun then asks nothing that was answered before, and pays nothing."""
    max_mb: int = Field(1024, ge=1)
    """Limit of the folder; the files written longest ago go first."""

    @field_validator("folder")
    @classmethod
    def _absolute(cls, folder: str | None) -> str | None:
        # Ray's workers have a working directory of their own.
        return None if folder is None else str(Path(folder).expanduser().absolute())


class MlflowConfig(Settings):
    """Experiment tracking."""

    enabled: bool = True
    tracking_uri: str | None = None
    """Default: sqlite in the output folder, as an absolute address. Credentials in it are masked
    here; the tracker of the process that read them knows them."""
    experiment: str = Field("craft-ray", min_length=1)

    @field_validator("tracking_uri")
    @classmethod
    def _credentials_stay_outside(cls, uri: str | None) -> str | None:
        return None if uri is None else conceal(uri)


class RayConfig(Settings):
    """Where Ray runs and what a trial asks of it."""

    address: str | None = None
    """A running cluster. Default: RAY_ADDRESS, and without it a Ray of our own on this machine."""
    num_cpus: Annotated[int, Field(ge=1)] | None = None
    """CPUs of our own local Ray. Default: all."""
    object_store_mb: int = Field(1024, ge=80)
    """Object store of our own local Ray."""
    cpus_per_worker: float = Field(0.3, gt=0)
    """The Ray Train worker that runs the collaborative optimizer. Small shares leave room beside
    the placement group of a trial that was stopped, which Ray takes some seconds to remove."""
    cpus_per_trial: float = Field(0.1, gt=0)
    """The Tune function that starts the worker and waits for it."""


class RunConfig(Settings):
    """One fine-tuning: `python -m craft_ray.train`, and the base of a search."""

    name: Annotated[str, Field(pattern=RUN_NAME_PATTERN)] | None = None
    """Folder under `output_dir`. Default: the file's name and the time."""
    output_dir: PlaceText = "runs"
    """A folder, or an address on an object store such as `s3://bucket/prefix`."""
    seed: int = Field(1, ge=0)
    method: Method = "both"
    """`prompt` searches the context only, `head` trains the head only, `both` is CraFT;
    `white_box` tunes the context by gradients, for comparison, where `oracle.white_box` permits."""
    max_queries: int = Field(8000, ge=1)
    """Budget in candidates scored on the whole training set (the paper's unit). A file may also
    give it for each number of shots, `{1: 2000, 16: 8000}`, of which `data.shots` picks one."""
    price_per_thousand_predictions: Annotated[float, Field(ge=0)] | None = None
    """What the owner of the oracle charges, in any currency: a dry run and the summary then tell
    what the image predictions cost."""
    evaluate_every_generations: int = Field(5, ge=1)
    fidelity: FidelityConfig = FidelityConfig()
    data: DataConfig = DataConfig()
    oracle: OracleConfig = OracleConfig()
    pool: PoolConfig = PoolConfig()
    prompt: PromptConfig = PromptConfig()
    optimizer: OptimizerConfig = CmaEsConfig()
    head: HeadConfig = ResidualMlpConfig()
    loss: LossConfig = LossConfig()
    white_box: WhiteBoxConfig = WhiteBoxConfig()
    answer_cache: AnswerCacheConfig = AnswerCacheConfig()
    mlflow: MlflowConfig = MlflowConfig()
    ray: RayConfig = RayConfig()

    @model_validator(mode="before")
    @classmethod
    def _pick_the_budget_of_the_shots(cls, document: Any) -> Any:
        return resolve_max_queries(document, DataConfig().shots)

    @property
    def probing_head(self) -> ProbingHeadConfig | None:
        """The head's section, if it is one that is fitted to fixed questions."""
        if self.method == "white_box" or isinstance(self.head, ResidualMlpConfig):
            return None
        return self.head

    @property
    def num_generations(self) -> int:
        """Whole generations that the budget pays for; a generation is never cut. Gradients have no
        budget: there it is the number of steps. A linear head is done when all its prompts are."""
        if self.method == "white_box":
            return self.white_box.steps
        if (head := self.probing_head) is not None:
            return -(-head.num_contexts // head.contexts_per_generation)
        return self.max_queries // self.optimizer.population

    @model_validator(mode="after")
    def _linear_heads_search_nothing(self) -> Self:
        if (head := self.probing_head) is None:
            return self
        if self.method != "head":
            raise ValueError(
                f"method must be head when head.kind is {head.kind}, but got {self.method}: such a "
                "head sees fixed prompts"
            )
        if self.data.views == "fresh":
            raise ValueError(
                f"data.views must be a number when head.kind is {head.kind}, but got fresh: all "
                "prompts are asked about the same views"
            )
        if self.fidelity.head_inputs != "logits":
            raise ValueError(
                f"fidelity.head_inputs must be logits when head.kind is {head.kind}, but got "
                f"{self.fidelity.head_inputs}"
            )
        if head.num_contexts > self.max_queries:
            raise ValueError(
                "1 + head.contexts <= max_queries must hold, but got contexts="
                f"{head.num_contexts - 1} and max_queries={self.max_queries}"
            )
        return self

    @model_validator(mode="after")
    def _budget_pays_one_generation(self) -> Self:
        if self.num_generations < 1:
            raise ValueError(
                f"max_queries >= optimizer.population must hold, but got max_queries="
                f"{self.max_queries} and optimizer.population={self.optimizer.population}"
            )
        return self

    @model_validator(mode="after")
    def _budget_pays_the_descent(self) -> Self:
        optimizer = self.optimizer
        if not isinstance(optimizer, SharpZoConfig) or self.method in ("head", "white_box"):
            return self
        if optimizer.warm_up_generations >= self.num_generations:
            raise ValueError(
                "optimizer.warm_up_generations < max_queries // optimizer.population must hold, "
                f"but got warm_up_generations={optimizer.warm_up_generations}, max_queries="
                f"{self.max_queries} and population={optimizer.population}: nothing is left for "
                "the descent"
            )
        return self

    @model_validator(mode="after")
    def _gradients_need_permission(self) -> Self:
        if self.method == "white_box" and not self.oracle.white_box:
            raise ValueError(
                "method white_box needs oracle.white_box true, but got false: a black box gives no "
                "gradients"
            )
        return self

    @model_validator(mode="after")
    def _resampling_needs_csa(self) -> Self:
        if self.fidelity.deployed_prompt != "resampled_mean":
            return self
        if not isinstance(self.optimizer, CmaEsConfig | SepCmaEsConfig):
            raise ValueError(
                "fidelity.deployed_prompt resampled_mean needs optimizer.kind cma_es or "
                f"sep_cma_es, but got {self.optimizer.kind}: no other draws around its mean a "
                "population that it is never told about"
            )
        if self.optimizer.step_size_rule == "tpa":
            raise ValueError(
                "fidelity.deployed_prompt resampled_mean needs optimizer.step_size_rule csa, but "
                "got tpa: two-point adaptation cannot draw a population it is never told about"
            )
        return self
