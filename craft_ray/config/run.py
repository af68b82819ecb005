"""Settings of one fine-tuning run. Imports neither torch nor Ray."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from craft_ray.config.base import Settings
from craft_ray.config.budget import clip_batches, resolve_max_queries
from craft_ray.config.data import DEFAULT_SHOTS, DataConfig
from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.endpoint_laws import check_endpoint_prices, check_endpoint_run
from craft_ray.config.fidelity import FidelityConfig
from craft_ray.config.fitted_head_laws import (
    check_features_head,
    check_fitted_head,
    check_searched_contexts,
)
from craft_ray.config.heads import HeadConfig, ProbingHeadConfig, ResidualMlpConfig
from craft_ray.config.optimizer_laws import check_descent, check_resampling
from craft_ray.config.optimizers import (
    CmaEsConfig,
    OptimizerConfig,
    SamplingConfig,
    SharpZoConfig,
    SoftOptimizerConfig,
    TextConfig,
)
from craft_ray.config.oracle import AnyOracleConfig, OracleConfig, PoolConfig
from craft_ray.config.places import PlaceText
from craft_ray.config.prompts import PromptConfig
from craft_ray.config.sections import (
    AnswerCacheConfig,
    LossConfig,
    MlflowConfig,
    RayConfig,
    WhiteBoxConfig,
)
from craft_ray.config.shots_laws import check_classes_without_images
from craft_ray.config.text_laws import check_text_search
from craft_ray.config.unlabelled_laws import check_unlabelled
from craft_ray.config.validation_laws import check_without_training, check_without_validation
from craft_ray.errors import ConfigError

Method = Literal["both", "prompt", "head", "white_box"]
RUN_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"


class RunConfig(Settings):
    """One fine-tuning: `python -m craft_ray.train`, and the base of a search."""

    name: Annotated[str, Field(pattern=RUN_NAME_PATTERN)] | None = None
    """Folder under `output_dir`. Default: the file's name and the time."""
    output_dir: PlaceText = "runs"
    """A folder, or an address on an object store such as `s3://bucket/prefix`."""
    seed: int = Field(1, ge=0)
    method: Method = "both"
    """`prompt` searches the context only, `head` trains the head only, `both` does both: with
    `head.kind: residual_mlp` it is CraFT, with a linear head each prompt is searched for what the
    best head makes of it. `white_box` tunes the context by gradients, for comparison, where
    `oracle.white_box` permits."""
    max_queries: int = Field(8000, ge=1)
    """Budget in candidates scored on the whole training set (the paper's unit). A file may also
    give it for each number of shots, `{1: 2000, 16: 8000}`, of which `data.shots` picks one."""
    price_per_thousand_predictions: Annotated[float, Field(ge=0)] | None = None
    """What the owner of the oracle charges, in any currency: a dry run and the summary then tell
    what the image predictions cost."""
    max_cost: Annotated[float, Field(gt=0)] | None = None
    """Money for all of a `train` or `tune`, in the currency of the price, validation and tests
    included. A search starts a trial only if what is left pays for all that it may spend; a single
    run that may cost more is refused."""
    time_limit_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds of a `train` or `tune` after which no more is tuned, and what has been found by then
    is tested. A search can be resumed with more. What is found depends on the machine's speed."""
    evaluate_every_generations: int = Field(5, ge=1)
    patience: Annotated[int, Field(ge=1)] | None = None
    """Early stopping: evaluations in a row without a better one after which the run ends, and what
    is left of its budget is not spent. Default: none ends early."""
    fidelity: FidelityConfig = FidelityConfig()
    data: DataConfig = DataConfig()
    oracle: AnyOracleConfig = OracleConfig()
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
    def _fit_the_shots(cls, document: Any) -> Any:
        return clip_batches(resolve_max_queries(document, DEFAULT_SHOTS), DEFAULT_SHOTS)

    @property
    def probing_head(self) -> ProbingHeadConfig | None:
        """The head's section, if it is one that is fitted and not trained."""
        if self.method == "white_box" or isinstance(self.head, ResidualMlpConfig):
            return None
        if self.method == "prompt" and isinstance(self.optimizer, TextConfig):
            return None
        return self.head

    @property
    def num_generations(self) -> int:
        """Whole generations that the budget pays for; a generation is never cut. Gradients have no
        budget: there it is the number of steps. A head on fixed prompts is done when all its
        prompts are."""
        if self.method == "white_box":
            return self.white_box.steps
        if (head := self.probing_head) is not None and self.method == "head":
            return -(-head.num_contexts // head.contexts_per_generation)
        return self.max_queries // self.optimizer.population * self.num_batches

    @property
    def num_batches(self) -> int:
        """Generations until candidates were scored on all training images."""
        if self.method in ("head", "white_box") or not isinstance(self.optimizer, SamplingConfig):
            return 1
        return self.optimizer.batches

    @property
    def soft_optimizer(self) -> SoftOptimizerConfig:
        """What searches z."""
        assert not isinstance(self.optimizer, TextConfig)  # a law of the settings
        return self.optimizer

    @property
    def num_searches(self) -> int:
        """Searches that share the generations, one after another: a linear head's contexts are
        searched one by one."""
        head = self.probing_head
        return 1 if head is None or self.method == "head" else head.num_contexts

    @property
    def search_ends(self) -> tuple[int, ...]:
        """Generations after which a search is over: all searches have an equal part of them."""
        searches = range(1, self.num_searches + 1)
        return tuple(n * self.num_generations // self.num_searches for n in searches)

    def evaluates_after(self, generation: int) -> bool:
        """Whether the state after so many generations is validated."""
        is_due = generation % self.evaluate_every_generations == 0
        return is_due or generation == self.num_generations

    @model_validator(mode="after")
    def _linear_heads_see_all_prompts_alike(self) -> Self:
        if (head := self.probing_head) is not None:
            views, most = self.data.views, self.max_queries
            check_fitted_head(self.method, head, views, self.fidelity, most)
        return self

    @model_validator(mode="after")
    def _offsets_are_for_fixed_prompts(self) -> Self:
        head = self.probing_head
        if head is not None and head.asks_prompts and self.method == "both":
            raise ValueError(
                f"head.offset must be template when method is both, but got {head.offset}: texts "
                "that are asked as they are have no prompt to search; method=head asks them"
            )
        return self

    @model_validator(mode="after")
    def _features_are_given_and_have_no_prompt(self) -> Self:
        if self.head.kind == "features" and self.method in ("head", "both"):
            check_features_head(self.method, self.oracle, self.prompt.start)
        return self

    @model_validator(mode="after")
    def _unlabelled_images_are_learned_from(self) -> Self:
        if self.data.unlabelled is not None:
            check_unlabelled(self.method, self.probing_head)
        return self

    @model_validator(mode="after")
    def _something_decides(self) -> Self:
        head, method = self.probing_head, self.method
        if self.data.shots == 0:
            check_without_training(self.data, method, head, self.prompt.start)
        elif self.data.validation == "none":
            check_without_validation(method, head, self.fidelity.selection)
        return self

    @model_validator(mode="after")
    def _words_are_searched_alone(self) -> Self:
        if isinstance(self.optimizer, TextConfig):
            check_text_search(self.method, self.prompt)
        return self

    @model_validator(mode="after")
    def _contexts_of_classes_can_be_searched(self) -> Self:
        if not self.prompt.per_class:
            return self
        if self.method == "white_box":
            raise ValueError(
                "prompt.per_class must be false when method is white_box, but got true"
            )
        if self.method == "both" and (head := self.probing_head) and head.num_names:
            raise ValueError(
                "head.names must be 0 when prompt.per_class is true, but got "
                f"{head.num_names}: names beside the classes have no context of their own"
            )
        return self

    @property
    def stands_classes_without_images(self) -> bool:
        """Whether classes may have no training image: they are left to zero-shot."""
        head = self.probing_head
        is_fitted = self.method == "head" and head is not None and head.fit != "similarity"
        return self.data.shots == 0 or (self.data.shots == "all" and is_fitted)

    @model_validator(mode="after")
    def _classes_have_images(self) -> Self:
        check_classes_without_images(self.data, self.stands_classes_without_images)
        return self

    @model_validator(mode="after")
    def _searched_contexts_can_be_judged(self) -> Self:
        if (head := self.probing_head) is not None and self.method == "both":
            shots, generations = self.data.shots, self.num_generations
            population = self.optimizer.population
            check_searched_contexts(head, shots, generations, self.max_queries, population)
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
        if isinstance(optimizer, SharpZoConfig) and self.method not in ("head", "white_box"):
            generations, searches = self.num_generations, self.num_searches
            check_descent(optimizer, generations, searches, self.num_batches, self.max_queries)
        return self

    @model_validator(mode="after")
    def _money_needs_a_price(self) -> Self:
        if self.max_cost is None:
            return self
        if isinstance(self.oracle, EndpointConfig):
            check_endpoint_prices(self.oracle, self.max_cost)
        elif not self.price_per_thousand_predictions:
            raise ValueError(
                "price_per_thousand_predictions > 0 must be given with max_cost (--budget), but "
                f"got max_cost={self.max_cost:g} and no price: say what 1,000 predictions cost, as"
                " price_per_thousand_predictions=1.50"
            )
        return self

    @model_validator(mode="after")
    def _training_needs_views(self) -> Self:
        is_trained = self.method == "white_box" or (
            self.method in ("head", "both") and self.probing_head is None
        )
        if self.data.views == 0 and is_trained:
            raise ValueError(
                f"data.views must be at least 1 when method is {self.method} and head.kind is "
                f"{self.head.kind}, which learn from views, but got 0"
            )
        return self

    @model_validator(mode="after")
    def _one_gate_before_an_endpoint(self) -> Self:
        if not isinstance(self.oracle, EndpointConfig):
            return self
        check_endpoint_run(self.oracle, self.pool, self.price_per_thousand_predictions)
        return self

    @property
    def local_model(self) -> OracleConfig:
        """The model that is loaded here.

        Raises:
            ConfigError: it is behind an endpoint.
        """
        if isinstance(self.oracle, EndpointConfig):
            problem = "must be open_clip where the model is loaded here, but got http"
            raise ConfigError("oracle.kind", [problem])
        return self.oracle

    @model_validator(mode="after")
    def _patience_needs_a_choice(self) -> Self:
        if self.patience is not None and self.fidelity.selection == "last":
            raise ValueError(
                "patience must be null when fidelity.selection is last, but got "
                f"{self.patience}: the last state counts there, whatever was better before"
            )
        return self

    @model_validator(mode="after")
    def _gradients_need_permission(self) -> Self:
        if self.method != "white_box":
            return self
        if isinstance(self.oracle, EndpointConfig):
            raise ValueError(
                "method must not be white_box when oracle.kind is http: an endpoint gives no "
                "gradients"
            )
        if not self.oracle.white_box:
            raise ValueError(
                "method white_box needs oracle.white_box true, but got false: a black box gives no "
                "gradients"
            )
        return self

    @model_validator(mode="after")
    def _resampling_needs_csa(self) -> Self:
        if self.fidelity.deployed_prompt == "resampled_mean":
            check_resampling(self.optimizer)
        return self
