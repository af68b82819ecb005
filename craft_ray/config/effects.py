"""Which settings have an effect under which others: what is searched in vain is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from craft_ray.config.distributions import Scalar
from craft_ray.config.variants import KINDS, kinds_with

Needs = dict[str, tuple[Scalar, ...]]
"""Setting -> the values, one of which it must have; none listed: any but 0."""

SEARCHES = ("both", "prompt")
"""Methods with an optimizer."""
REFINES = ("both", "head")
"""Methods with a head."""
_SOFT = tuple(kind for kind in KINDS["optimizer"] if kind != "text")
"""Optimizers of z."""
_TRAINED: Needs = {"method": REFINES, "head.kind": ("residual_mlp",)}
_RANDOM_CONTEXTS: Needs = {"method": ("head",), "head.kind": ("probes",), "head.contexts": ()}

_SINGLE: dict[str, Needs] = {
    "loss.prompt_consistency": {**_TRAINED, "method": ("both",)},
    "loss.head_consistency": _TRAINED,
    "loss.head_consistency_share": {**_TRAINED, "loss.head_consistency": ()},
    "prompt.start": {},  # also of a head that asks under it
    "fidelity.deployed_prompt": {"method": SEARCHES, "optimizer.kind": _SOFT},
    "fidelity.head_inputs": _TRAINED,
    "fidelity.head_init": _TRAINED,
    "head.context_std": _RANDOM_CONTEXTS,
    "head.contexts_per_generation": _RANDOM_CONTEXTS,
}
_SECTIONS: dict[str, Needs] = {
    "prompt": {"method": SEARCHES, "optimizer.kind": _SOFT},
    "optimizer": {"method": SEARCHES},
    "head": {"method": REFINES},
    "white_box": {"method": ("white_box",)},
}


def needs_of(path: str, settings: Mapping[str, Any]) -> Needs:
    """What must hold for a setting to have an effect.

    Args:
        path: of the setting.
        settings: of the run, `section.key` -> value.
    """
    section, _, name = path.partition(".")
    if path in _SINGLE:
        return _SINGLE[path]
    needs = dict(_SECTIONS.get(section, {}))
    if path in ("optimizer.population", "max_queries"):
        # They also count the generations of a head that is trained by steps.
        is_trained = settings["head.kind"] == "residual_mlp"
        needs["method"] = (*SEARCHES, "head") if is_trained else SEARCHES
    if section in KINDS and len(kinds := kinds_with(section, name)) < len(KINDS[section]):
        needs[f"{section}.kind"] = kinds
    return needs


def missing_for(path: str, settings: Mapping[str, Any]) -> Needs:
    """What must hold for a setting to have an effect, but does not; empty: it has one."""
    return {
        setting: allowed
        for setting, allowed in needs_of(path, settings).items()
        if (settings.get(setting) not in allowed if allowed else settings.get(setting) == 0)
    }


def needs_in_words(needs: Needs) -> str:
    """What a setting needs, as a message says it."""
    return " and ".join(
        f"{path} {' or '.join(map(str, allowed)) if allowed else 'other than 0'}"
        for path, allowed in needs.items()
    )
