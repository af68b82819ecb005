"""What an endpoint may be asked for, as the commands show it before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.money import billed_money

if TYPE_CHECKING:
    from craft_ray.config.run import RunConfig
    from craft_ray.config.space import SpaceConfig
    from craft_ray.metering.planned_spending import DataSize
    from craft_ray.oracle.gate.bill import BilledUnits


@dataclass(frozen=True)
class PlannedBill:
    """What is asked at most.

    Attributes:
        units: of each kind.
        endpoint: that is asked.
    """

    units: BilledUnits
    endpoint: EndpointConfig

    def rows(self) -> Iterator[tuple[str, str]]:
        """Labels and amounts, for a table."""
        units = self.units
        yield "asked of the endpoint", ""
        for label, number in (
            ("  requests", units.requests),
            ("  images", units.images),
            ("  texts", units.texts),
            ("  pairs of both", units.pairs),
        ):
            if number:
                yield label, f"{number:,}"
        if (cost := self._cost()) is not None:
            yield "  cost", cost

    def line(self) -> str:
        """In a sentence."""
        units = self.units
        kinds = (("image", units.images), ("text", units.texts), ("pair", units.pairs))
        asked = ", ".join(f"{number:,} {word}s" for word, number in kinds if number)
        cost = self._cost()
        of_cost = "" if cost is None else f", for {cost}"
        return f"The endpoint is asked for {asked} at most{of_cost}; what is known is not asked."

    def _cost(self) -> str | None:
        from craft_ray.metering.planned_bill import cost, price_list

        prices = price_list(self.endpoint)
        if not prices.prices:
            return None
        about = "about " if prices.has("token") else ""
        return about + billed_money(cost(self.units, self.endpoint), prices.currency)


def planned_bill(config: RunConfig, size: DataSize) -> PlannedBill | None:
    """Of a run; None if the model is loaded here."""
    if not isinstance(config.oracle, EndpointConfig):
        return None
    from craft_ray.metering.planned_bill import plan_run_bill

    return PlannedBill(plan_run_bill(config, size), config.oracle)


def planned_search_bill(space: SpaceConfig, size: DataSize) -> PlannedBill | None:
    """Of a search; None if the model is loaded here."""
    if not isinstance(space.base.oracle, EndpointConfig):
        return None
    from craft_ray.search.planned_bill import plan_search_bill

    return PlannedBill(plan_search_bill(space, size), space.base.oracle)


def bill_line(bill: PlannedBill | None) -> Sequence[str]:
    """For the first lines of a run."""
    return [] if bill is None else [bill.line()]
