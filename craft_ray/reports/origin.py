"""Where a result comes from and what to do with it: commands, settings and versions."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from pydantic import ValidationError

from craft_ray.config.documents import flatten, to_yaml
from craft_ray.config.run import RunConfig
from craft_ray.config.secrets import mask
from craft_ray.config.space import SpaceConfig
from craft_ray.reports.page import code, dim, folded, section, table

SPACE_PARTS = {"parameters", "variants", "first_trials", "name"}
"""Of a search: they have no default that they could differ from."""


def commands(
    kind: str, folder: str, is_address: bool, has_result: bool, other_seed: int | None
) -> Iterator[str]:
    """What to type.

    Args:
        kind: `tune` or `train`.
        folder: of the run.
        is_address: whether that is an address on an object store.
        has_result: whether there is a classifier.
        other_seed: one that the run did not have; None: all would draw the same images.
    """
    where = shlex.quote(folder)
    if has_result:
        yield section("Use it")
        yield code(
            f"craft-ray predict {where} photos/ --out labels.csv\n"
            f"craft-ray evaluate {where} labelled/ --report page.html"
        )
    yield section("The same again")
    settings = "settings.json" if is_address else shlex.quote(f"{folder}/settings.json")
    copied = f"# with a copy of {folder}/settings.json\n" if is_address else ""
    again = f"{copied}craft-ray {kind} {settings}"
    if other_seed is not None:
        again += f"\ncraft-ray {kind} {settings} seed={other_seed}   # with other training images"
    yield code(again)


def settings_and_versions(kind: str, summary: Mapping[str, Any]) -> Iterator[str]:
    """What differs from the defaults, everything that was set, and the versions of the parts."""
    settings = summary["settings"]
    yield section("Settings")
    if (differing := _differing(kind, settings)) is not None:
        if differing:
            yield dim("What differs from the defaults:")
            rows = [[escape(path), escape(_text(value))] for path, value in differing.items()]
            yield table(["setting", "value"], rows, left=2)
        else:
            yield dim("All are the defaults.")
    yield folded("All settings", code(mask(to_yaml(_plain(settings)))))
    versions = [[escape(name), escape(each)] for name, each in summary["versions"].items()]
    facts = [
        ["model", summary["oracle_id"]],
        ["training images", summary["data"]["few_shot_manifest"]],
        ["validation images", summary["data"]["validation_manifest"] or "none"],
    ]
    identities = [[escape(name), f"<code>{escape(each)}</code>"] for name, each in facts]
    content = table(["part", "version"], versions, left=2)
    content += dim("Checksums: runs with equal ones had the same model and the same images.")
    content += table(["what", "SHA-256"], identities, left=2)
    yield folded("Versions and checksums", content)


def _differing(kind: str, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """None if these are settings of another version, which has other defaults."""
    try:
        if kind == "train":
            config = RunConfig.model_validate(settings)
            return flatten(config.model_dump(mode="json", exclude_defaults=True, exclude={"name"}))
        space = SpaceConfig.model_validate(settings)
        differing = space.model_dump(mode="json", exclude_defaults=True, exclude=SPACE_PARTS)
        # As they are typed: a search takes the settings of its base by their own names.
        base = {key: each for key, each in differing.pop("base", {}).items() if key != "name"}
        return flatten({**base, **differing})
    except ValidationError:
        return None


def _text(value: Any) -> str:
    text = mask(to_yaml({"x": _plain(value)}).removeprefix("x:").strip())
    return ", ".join(line.removeprefix("- ") for line in text.splitlines())


def _plain(value: Any) -> Any:
    """What YAML can hold."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
