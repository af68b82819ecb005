"""The ingress: Ray Serve takes HTTP in, and hands it to the application, in a process of its own.

Serve does no more than that. It would group questions by the moment of their arrival
(`serve.batch`), and the last bits of answers would depend on who else asks; chunks are the pool's.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from craft_ray.config.service import ServiceConfig
from craft_ray.pool.address import PoolAddress
from craft_ray.service.meter.actor import MeterClient
from craft_ray.service.tunings.records import TuningRecords

APPLICATION = "craft-ray"
RETRY_AFTER_S = 2.0
"""Of requests beyond those that may wait."""


@dataclass(frozen=True)
class IngressSettings:
    """What an ingress process is started with.

    Attributes:
        config: of the service.
        pool: whom to ask.
        meter: who counts.
        records: of tunings.
        at_a_time: chunks that are asked at a time.
        image_bytes: that are held for questions about them.
    """

    config: ServiceConfig
    pool: PoolAddress
    meter: MeterClient
    records: TuningRecords
    at_a_time: int
    image_bytes: int


class Ingress:
    """One process; Serve starts another one when it is lost."""

    def __init__(self, settings: IngressSettings) -> None:
        self._settings = settings

    def __serve_build_asgi_app__(self) -> Any:
        """Of Serve, when the process is up."""
        from craft_ray.service.asking import pool_asker
        from craft_ray.service.http.app import make_app
        from craft_ray.service.http.desk import Desk
        from craft_ray.service.http.foreign import foreign_routes
        from craft_ray.service.http.tuning_desk import TuningDesk
        from craft_ray.service.tunings.routes import tuning_routes

        settings = self._settings
        config = settings.config
        asker = pool_asker(settings.pool, config.pool, settings.at_a_time, settings.image_bytes)
        desk = Desk(config, settings.meter, asker)
        tuning = tuning_routes(TuningDesk(desk, settings.records), desk.metrics.answered)
        return make_app(desk, [foreign_routes(desk), tuning])


def start_ingress(settings: IngressSettings) -> None:
    """Start Serve on the Ray that is connected, and wait until requests are answered.

    Raises:
        RunFailedError: it does not come up.
    """
    from ray import serve
    from ray.serve.config import BackpressureConfig, HTTPOptions

    from craft_ray.errors import RunFailedError, last_words
    from craft_ray.pool.cluster import this_node

    config = settings.config
    bounds = config.bounds
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(
        proxy_location="HeadOnly",
        http_options=HTTPOptions(
            host=config.host,
            port=config.port,
            request_timeout_s=bounds.timeout_s,
            ssl_certfile=config.tls_cert,
            ssl_keyfile=config.tls_key,
        ),
        logging_config={"log_level": "WARNING", "enable_access_log": False},
    )
    deployment = serve.deployment(
        name="ingress",
        num_replicas=1,
        max_ongoing_requests=bounds.requests_at_a_time,
        max_queued_requests=bounds.requests_waiting,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=RETRY_AFTER_S),
        # Its files are on this node.
        ray_actor_options={"num_cpus": 0, "resources": {this_node(): 0.001}},
        graceful_shutdown_timeout_s=10.0,
    )(serve.ingress()(Ingress))
    try:
        serve.run(deployment.bind(settings), name=APPLICATION, route_prefix="/")
    except RuntimeError as error:
        raise RunFailedError(f"the ingress does not start: {last_words(error)}") from error


def stop_ingress() -> None:
    """No more requests are taken; those at work may end within ten seconds."""
    from ray import serve

    serve.shutdown()
