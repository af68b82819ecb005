"""A model in this process, whichever kind it is: loaded here, or behind an endpoint."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime
from pathlib import Path

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.oracle import AnyOracleConfig
from craft_ray.config.places import is_address
from craft_ray.oracle.check import check_model_exists
from craft_ray.oracle.contract import Oracle


def check_loadable(config: AnyOracleConfig, max_cost: float | None = None) -> None:
    """Refuse a model that cannot be loaded, or an endpoint that cannot be asked, before anything is
    started. Nothing is asked.

    Raises:
        OracleError: a model or file is not there, or the settings of an endpoint do not fit.
        ConfigError: the endpoint's key is not there.
    """
    if isinstance(config, EndpointConfig):
        from craft_ray.oracle.remote.opening import check_endpoint

        check_endpoint(config, max_cost)
    else:
        check_model_exists(config)


def place_of_answers(output_dir: str) -> Path:
    """Where answers of an endpoint are kept that is asked here: beside the runs, which may be on an
    object store."""
    return Path("runs") if is_address(output_dir) else Path(output_dir)


def load_here(config: AnyOracleConfig, output_dir: Path, max_cost: float | None = None) -> Oracle:
    """The model, on a GPU if there is one; or the gate of an endpoint, until this process ends.

    Args:
        config: of the model.
        output_dir: where runs are: beside them are the answers that were paid for, and the bill of
            what is asked here.
        max_cost: money that an endpoint may charge for it; None: any.

    Raises:
        OracleError: the model cannot be loaded, or the endpoint refuses.
        ConfigError: the endpoint's key is not there.
    """
    if isinstance(config, EndpointConfig):
        from craft_ray.oracle.remote.opening import open_until_exit, read_secret
        from craft_ray.oracle.remote.records import records_beside_runs

        time = datetime.now(UTC).strftime("%Y-%m-%d-%H%M%S")
        name = f"asked-{time}-{os.getpid()}-{uuid.uuid4().hex[:4]}"
        records = records_beside_runs(config, output_dir, name, max_cost)
        return open_until_exit(config, read_secret(config), records)
    # Here: torch takes seconds, which an endpoint does not need.
    from craft_ray.oracle.devices import best_device
    from craft_ray.oracle.white_box import load_oracle

    return load_oracle(config, best_device())
