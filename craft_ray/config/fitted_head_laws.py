"""Which settings go with a head that is fitted to answers, and not trained."""

from __future__ import annotations

from typing import Literal

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.fidelity import FidelityConfig
from craft_ray.config.heads import ProbingHeadConfig
from craft_ray.config.oracle import OracleConfig


def check_fitted_head(
    method: str,
    head: ProbingHeadConfig,
    views: int | Literal["fresh"],
    fidelity: FidelityConfig,
    max_queries: int,
) -> None:
    """Refuse what a head that is fitted once, to answers under all of its prompts, cannot have.

    Args:
        method: of the run.
        head: its section.
        views: `data.views`.
        fidelity: its section.
        max_queries: of the run.

    Raises:
        ValueError: names the setting.
    """
    if method == "prompt":
        raise ValueError(
            f"method must be head or both when head.kind is {head.kind}, but got prompt"
        )
    if views == "fresh":
        raise ValueError(
            f"data.views must be a number when head.kind is {head.kind}, but got fresh: such a "
            "head is fitted once, to the answers about a number of views"
        )
    if fidelity.head_inputs != "logits":
        raise ValueError(
            f"fidelity.head_inputs must be logits when head.kind is {head.kind}, but got "
            f"{fidelity.head_inputs}"
        )
    if method == "head" and head.num_contexts > max_queries:
        raise ValueError(
            "1 + head.contexts <= max_queries must hold, but got contexts="
            f"{head.num_contexts - 1} and max_queries={max_queries}"
        )


def check_features_head(
    method: str, oracle: OracleConfig | EndpointConfig, start: str | None
) -> None:
    """Refuse what features of images do not have: a prompt; and a model that gives none.

    Args:
        method: of the run, which has a head.
        oracle: its section.
        start: `prompt.start`.

    Raises:
        ValueError: names the setting.
    """
    if method == "both":
        raise ValueError(
            "method must be head when head.kind is features, but got both: features of images "
            "have no prompt to search"
        )
    # Of an endpoint its dialect says it, before anything is started.
    if isinstance(oracle, OracleConfig) and not oracle.serves_features:
        raise ValueError(
            "head.kind features needs oracle.features true, but got false: a black box that "
            "gives no features can be asked about names instead, head.kind=probes"
        )
    if start is not None:
        raise ValueError(
            "prompt.start must be null when head.kind is features, but got "
            f"{start}: features of images have no prompt to start from"
        )


def check_searched_contexts(
    head: ProbingHeadConfig,
    shots: int | Literal["all"],
    num_generations: int,
    max_queries: int,
    population: int,
) -> None:
    """Refuse a search of a fitted head's prompts that could not be judged, or not be paid.

    Args:
        head: its section.
        shots: `data.shots`.
        num_generations: that the budget pays for.
        max_queries: of the run.
        population: of its optimizer.

    Raises:
        ValueError: names the setting.
    """
    if shots == "all" or shots < 2:
        raise ValueError(
            f"data.shots >= 2 must hold when method is both and head.kind is {head.kind}, but "
            f"got {shots}: a class with one image leaves none to judge a prompt by"
        )
    if num_generations < head.num_contexts:
        raise ValueError(
            "max_queries >= optimizer.population * (1 + head.contexts) must hold when method "
            f"is both, but got max_queries={max_queries}, population="
            f"{population} and contexts={head.num_contexts - 1}"
        )
