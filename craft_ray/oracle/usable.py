"""Whether a run can ask its oracle what its method asks, from the settings alone."""

from __future__ import annotations

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.run import RunConfig
from craft_ray.errors import OracleError
from craft_ray.oracle.loaded import check_loadable


def check_usable(config: RunConfig, *, method: bool = True) -> None:
    """Refuse, before anything is started or asked, a model that cannot be loaded, an endpoint that
    cannot be asked, and a method that it cannot answer.

    Args:
        config: of the run.
        method: False for the base of a search, whose trials have methods of their own.

    Raises:
        OracleError: says what can be done instead.
        ConfigError: the endpoint's key is not there.
    """
    check_loadable(config.oracle, config.max_cost)
    if method:
        check_method_of(config)


def check_method_of(config: RunConfig) -> None:
    """Refuse a method that the run's endpoint cannot answer.

    Raises:
        OracleError: says what can be done instead.
    """
    if not isinstance(config.oracle, EndpointConfig):
        return
    from craft_ray.oracle.endpoints.capabilities import check_method
    from craft_ray.oracle.remote.opening import capabilities_of

    head = config.head
    contexts = getattr(head, "contexts", 0)
    words = config.optimizer.kind == "text"
    capabilities = capabilities_of(config.oracle)
    check_method(capabilities, config.method, head.kind, contexts, words=words)
    offset = getattr(config.probing_head, "offset", "template")
    if offset != "template" and not capabilities.prompts & {"soft", "text"}:
        raise OracleError(
            "head.offset: must be template for an endpoint that scores its own classes only, but "
            f"got {offset}: it cannot be asked about other texts"
        )
