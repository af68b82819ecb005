"""Image sets in Ray's object store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray

from craft_ray.data.recipe import PackedFiles, Plan, Recipe
from craft_ray.oracle.contract import Images

Sent = Mapping[str, "SentImages"]
"""Sets by their content address."""


@dataclass(frozen=True)
class SentImages:
    """Where a set is.

    Attributes:
        content: the object: pixels or files as an oracle takes them; or with a plan `PackedFiles`.
        plan: how pixels are made of these.
    """

    content: ray.ObjectRef[Any]
    plan: Plan | None = None

    def fetch(self) -> Images:
        """The set; blocks until its content is on this node.

        Raises:
            RayError: it is lost.
        """
        content: Images | PackedFiles = ray.get(self.content)
        if self.plan is None:
            assert not isinstance(content, PackedFiles)
            return content
        assert isinstance(content, PackedFiles)
        return Recipe(content.items(), self.plan)
