"""Which settings go with an optimizer, and which budget."""

from __future__ import annotations

from craft_ray.config.optimizers import (
    CmaEsConfig,
    OptimizerConfig,
    SepCmaEsConfig,
    SharpZoConfig,
)


def check_descent(
    optimizer: SharpZoConfig,
    num_generations: int,
    num_searches: int,
    num_batches: int,
    max_queries: int,
) -> None:
    """Refuse a warm-up that leaves no generation for the descent after it.

    Args:
        optimizer: its section.
        num_generations: that the budget pays for.
        num_searches: that share these.
        num_batches: generations until candidates were scored on all training images.
        max_queries: of the run.

    Raises:
        ValueError: names the setting.
    """
    of_a_search = num_generations // num_searches
    if optimizer.warm_up_generations < of_a_search:
        return
    searches = "" if num_searches == 1 else f" and {num_searches} searches"
    raise ValueError(
        "optimizer.warm_up_generations < max_queries // optimizer.population * batches must"
        f" hold, but got warm_up_generations={optimizer.warm_up_generations}, max_queries="
        f"{max_queries}, population={optimizer.population} and batches="
        f"{num_batches}{searches}: nothing is left for the descent, and "
        + (
            f"optimizer.warm_up_generations={of_a_search // 2} leaves half of them"
            if of_a_search > 1
            else "max_queries must be larger"
        )
    )


def check_resampling(optimizer: OptimizerConfig) -> None:
    """Refuse `fidelity.deployed_prompt: resampled_mean` where nothing is drawn around a mean that
    the optimizer is never told about.

    Args:
        optimizer: its section.

    Raises:
        ValueError: names the setting.
    """
    if not isinstance(optimizer, CmaEsConfig | SepCmaEsConfig):
        raise ValueError(
            "fidelity.deployed_prompt resampled_mean needs optimizer.kind cma_es or "
            f"sep_cma_es, but got {optimizer.kind}: no other draws around its mean a "
            "population that it is never told about; fidelity.deployed_prompt=mean takes any"
        )
    if optimizer.step_size_rule == "tpa":
        raise ValueError(
            "fidelity.deployed_prompt resampled_mean needs optimizer.step_size_rule csa, but "
            "got tpa: two-point adaptation cannot draw a population it is never told about"
        )
