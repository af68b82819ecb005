"""Which settings go with a model behind an endpoint."""

from __future__ import annotations

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.oracle import PoolConfig


def check_endpoint_run(
    oracle: EndpointConfig, pool: PoolConfig, price_per_thousand_predictions: float | None
) -> None:
    """Refuse a pool, or a price, as only a model has that is loaded here.

    Raises:
        ValueError: names the setting.
    """
    if pool.replicas not in ("auto", 1) or pool.max_replicas is not None:
        raise ValueError(
            "pool.replicas must be auto or 1 and pool.max_replicas null when oracle.kind is "
            f"{oracle.kind}, because one gate asks the endpoint, but got {pool.replicas} and "
            f"{pool.max_replicas}"
        )
    # A pool ends what does not get on, with all that is under way and may be billed.
    if oracle.timeout_s > pool.chunk_timeout_s / 2:
        raise ValueError(
            "oracle.timeout_s must be at most half of pool.chunk_timeout_s, but got "
            f"{oracle.timeout_s:g} and {pool.chunk_timeout_s:g}: give pool.chunk_timeout_s="
            f"{2 * oracle.timeout_s:g}"
        )
    if price_per_thousand_predictions is not None:
        raise ValueError(
            f"price_per_thousand_predictions must be null when oracle.kind is {oracle.kind}, but "
            f"got {price_per_thousand_predictions:g}: say in oracle.prices what the endpoint "
            "charges, such as oracle.prices.image=0.0001"
        )


def check_endpoint_prices(oracle: EndpointConfig, max_cost: float) -> None:
    """Refuse a bound of money without a price.

    Raises:
        ValueError: names the setting.
    """
    if not oracle.has_prices:
        raise ValueError(
            "oracle.prices must be given with max_cost (--budget), but got max_cost="
            f"{max_cost:g} and no price: say what the endpoint charges, as "
            "oracle.prices.image=0.0001 oracle.prices.text=0.00001"
        )
