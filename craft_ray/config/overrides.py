"""Words of a command line in a document of settings: what `a.b.c=value` changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel

from craft_ray.config.documents import set_by_path
from craft_ray.config.oracle import LOADED_HERE
from craft_ray.config.run import RunConfig
from craft_ray.config.suggestions import kinds_at, settings_at
from craft_ray.errors import ConfigError


def apply_words(
    document: dict[str, Any], words: Iterable[tuple[str, Any]], model: type[BaseModel]
) -> None:
    """Put values into a document, one after another.

    Args:
        document: settings, not yet validated; is changed.
        words: keys and values. Where a section gets another kind, what that does not know and the
            old one did goes, unless a word has set it.
        model: of the document.

    Raises:
        ConfigError: a key leads into a value that is no section.
    """
    said: set[tuple[str, ...]] = set()
    for key, value in words:
        path = _split(document, key)
        try:
            if path[-2:-1] == ("fidelity",):
                _expand_fidelity(document, path[:-1])
            elif path[-1] == "kind":
                _drop_what_is_of_another_kind(document, path[:-1], value, model, said)
            set_by_path(document, path, value)
        except ValueError as error:
            raise ConfigError("command line", [str(error)]) from error
        said.add(path)


def _split(document: dict[str, Any], key: str) -> tuple[str, ...]:
    """A key at its dots, but not at those in the names of variants and of searched settings."""
    section, _, rest = key.partition(".")
    if section not in ("parameters", "variants") or not rest:
        return tuple(key.split("."))
    entries = document.get(section)
    names = [str(name) for name in entries] if isinstance(entries, dict) else []
    if section == "parameters":
        names += _paths_of_settings()
    found = [name for name in names if f"{rest}.".startswith(f"{name}.")]
    if not found:
        # A new variant is named up to its dot; a setting that nobody knows is all of it.
        found = [rest.split(".")[0] if section == "variants" else rest]
    name = max(found, key=len)
    inside = rest[len(name) + 1 :]
    if section == "parameters" and inside.startswith("when."):
        return section, name, *inside.split(".", 1)
    return section, name, *(inside.split(".") if inside else ())


def _paths_of_settings() -> list[str]:
    inside = {section: settings_at(RunConfig, [section]) for section in RunConfig.model_fields}
    return [
        path
        for section, names in inside.items()
        for path in ([f"{section}.{name}" for name in names] or [section])
    ]


def _section(document: dict[str, Any], path: Sequence[str]) -> Any:
    node: Any = document
    for part in path:
        node = node.get(part) if isinstance(node, dict) else None
    return node


def _expand_fidelity(document: dict[str, Any], path: Sequence[str]) -> None:
    """`fidelity: reference` is short for a section; a word for one switch keeps it."""
    if isinstance(preset := _section(document, path), str):
        set_by_path(document, path, {"preset": preset})


def _drop_what_is_of_another_kind(
    document: dict[str, Any],
    path: tuple[str, ...],
    kind: Any,
    model: type[BaseModel],
    said: set[tuple[str, ...]],
) -> None:
    section = _section(document, path)
    in_run = path[:1] == ("variants",)
    kinds = kinds_at(RunConfig, path[2:]) if in_run else kinds_at(model, path)
    if not isinstance(section, dict) or not isinstance(kind, str) or kind not in kinds:
        return
    known = {name for each in kinds.values() for name in each.model_fields}
    dropped = known - kinds[kind].model_fields.keys()
    if path[-1] == "oracle" and section.get("kind", LOADED_HERE) != kind:
        dropped = known  # both kinds have a `model`, but a model here is none of an endpoint's
    kept = {k: v for k, v in section.items() if k not in dropped or (*path, k) in said}
    set_by_path(document, path, kept)
