"""What a run's pool hosts: a model that is loaded here, or the gate of an endpoint."""

from __future__ import annotations

from collections.abc import Sequence

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.run import RunConfig
from craft_ray.errors import ConfigError
from craft_ray.files.remote import Place, RemotePath
from craft_ray.pool.lifecycle import ClipFactory, EndpointFactory
from craft_ray.pool.membership import ONE_GATE, NodeView, PoolSize, decide_size, num_replicas
from craft_ray.pool.replica import OracleFactory


def hosted_by(
    config: RunConfig, folder: Place, nodes: Sequence[NodeView]
) -> tuple[OracleFactory, PoolSize, str]:
    """Who makes the oracle in a replica, how many there are, and both in words.

    Args:
        config: of the run.
        folder: of the run.
        nodes: of the cluster.

    Raises:
        ConfigError: the endpoint's key is not there, or its records cannot lie in `folder`.
    """
    oracle = config.oracle
    if isinstance(oracle, EndpointConfig):
        if isinstance(folder, RemotePath):
            problem = (
                "must be a folder when oracle.kind is http, because each request is put on record "
                f"before it is sent, but got {folder}"
            )
            raise ConfigError("output_dir", [problem])
        from craft_ray.oracle.remote.opening import read_secret
        from craft_ray.oracle.remote.records import records_of_run

        records = records_of_run(oracle, folder, config.max_cost)
        factory = EndpointFactory(oracle, read_secret(oracle), records)
        return factory, ONE_GATE, f"the gate to {oracle.model or 'the model'} at {oracle.url}"
    size = decide_size(config.pool, nodes)
    most = "up to " if size.max_replicas else ""
    words = f"{most}{num_replicas(size, nodes)} oracle replica(s) of {oracle.model}"
    made = ClipFactory(oracle, size.device, size.threads_per_replica)
    return made, size, f"{words} on {size.device}"
