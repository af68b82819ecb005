"""Whether an endpoint can answer all trials that a search may begin."""

from __future__ import annotations

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.space import SpaceConfig
from craft_ray.config.variants import VARIANT
from craft_ray.errors import OracleError
from craft_ray.oracle.usable import check_method_of, check_usable


def check_answerable(space: SpaceConfig) -> None:
    """Refuse a model that cannot be asked, and a search with trials that it cannot answer, before
    anything is started.

    Raises:
        OracleError: names the variant, and says what can be done instead.
        ConfigError: the endpoint's key is not there.
    """
    check_usable(space.base, method=False)
    if not isinstance(space.base.oracle, EndpointConfig):
        return
    tree = space.tree
    for branch in tree.branches():
        for point in tree.representative_points(branch):
            try:
                check_method_of(tree.resolve(point))
            except OracleError as error:
                if VARIANT not in branch:
                    raise
                raise OracleError(f"variant {branch[VARIANT]}: {error}") from None
