"""A search that could compare none of its trials is refused before it asks anything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from craft_ray.config.space import SpaceConfig
from craft_ray.errors import ConfigError
from craft_ray.search.comparable import check_comparable
from craft_ray.task.preparation import FewShotData
from tests.support.world import world_data

DATA = world_data(shots=4, num_test=4)


def space(**data: Any) -> SpaceConfig:
    base = {"method": "head", "head": {"kind": "probes"}, "data": {"shots": "all", **data}}
    names = {"head.names": {"kind": "choice", "values": [10, 20]}}
    return SpaceConfig.model_validate({"name": "s", "base": base, "parameters": names, "trials": 2})


def first_has(count: int) -> FewShotData:
    """A first class with so many images."""
    own = [item for item in DATA.train if item.label == 0][:count]
    return replace(DATA, train=(*own, *(item for item in DATA.train if item.label)))


def test_every_class_needs_three_images_to_be_held_out() -> None:
    check_comparable(space(validation="none"), first_has(3))
    check_comparable(space(), first_has(2))
    with pytest.raises(ConfigError, match=r"data\.validation: .*got none.* has 2, of which 3 are"):
        check_comparable(space(validation="none"), first_has(2))


def test_of_many_images_not_all_are_held_out() -> None:
    check_comparable(space(validation="none"), replace(DATA, train=(*DATA.train,) * 256))
    with pytest.raises(ConfigError, match=r"of more than 4,096 images, here 4,112, not all are"):
        check_comparable(space(validation="none"), replace(DATA, train=(*DATA.train,) * 257))
