"""What a dry run shows as different from the defaults."""

from __future__ import annotations

from typing import Any

from craft_ray.commands.dry_run import differences
from craft_ray.config.run import RunConfig


def shown(**settings: Any) -> list[str]:
    return list(differences(RunConfig, RunConfig(**settings).model_dump(mode="json")))


def test_nothing_differs() -> None:
    assert shown() == []


def test_a_section_of_another_kind_is_compared_with_that_kinds_defaults() -> None:
    oracle = {"kind": "http", "dialect": "infinity", "url": "http://h", "model": "m"}
    assert shown(method="head", oracle=oracle, head={"kind": "probes"}) == [
        "method: head (default: both)",
        "oracle.kind: http (default: open_clip)",
        "oracle.dialect: infinity",
        "oracle.url: http://h",
        "oracle.model: m (default: )",
        "head.kind: probes (default: residual_mlp)",
    ]
