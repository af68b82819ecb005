"""What a run has asked an endpoint for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.run import RunConfig
from craft_ray.files.remote import Place
from craft_ray.metering.ledger import Spending

if TYPE_CHECKING:
    from craft_ray.oracle.gate.bill import Bill


def bill_of(config: RunConfig, folder: Place) -> Bill | None:
    """Of the run in `folder`, so far; None if its model is loaded here, or nothing was asked.

    Raises:
        ArtifactError: its record is damaged.
        OracleError: the settings do not fit the dialect.
    """
    if not isinstance(config.oracle, EndpointConfig) or not isinstance(folder, Path):
        return None
    from craft_ray.oracle.gate.bill_ledger import BillLedger
    from craft_ray.oracle.remote.opening import capabilities_of
    from craft_ray.oracle.remote.records import BILL_FILE

    path = folder / BILL_FILE
    if not path.exists():
        return None
    prices = capabilities_of(config.oracle).prices
    with BillLedger(path, folder.name, prices, only_read=True) as ledger:
        return ledger.total()


def cost_of(config: RunConfig, folder: Place, spent: Spending) -> float | None:
    """What the run in `folder` costs so far: by the price of a prediction, or by the endpoint's
    bill, with what may have been billed. None: nobody has said a price."""
    price = config.price_per_thousand_predictions
    if price is not None:
        return round(spent.cost(price), 6)
    bill = bill_of(config, folder)
    return round(bill.cost, 6) if bill is not None and bill.currency else None
