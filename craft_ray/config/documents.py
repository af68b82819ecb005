"""Documents (nested mappings from YAML) and the words that change them. Knows no settings."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from craft_ray.errors import ConfigError

MAX_CONFIG_BYTES = 1_000_000

# A value in a message is cut: aliases of aliases in a small file are a list of any size.
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200
_SHORT.maxlevel = 3


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a mapping.

    Raises:
        ConfigError: the file is missing, too large, not YAML or not a mapping.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CONFIG_BYTES + 1)  # a device has no size, and may have no end
        is_too_large = len(content) > MAX_CONFIG_BYTES
        text = "" if is_too_large else content.decode("utf-8")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a null byte in the path
        raise ConfigError(str(path), [f"cannot be read: {error}"]) from error
    if is_too_large:
        raise ConfigError(str(path), [f"must be at most {MAX_CONFIG_BYTES} bytes"])
    try:
        document = _parse_yaml(text)
    except yaml.YAMLError as error:
        remedy = ""
        if "mapping values are not allowed" in str(error):
            remedy = "; a text with a colon and a space in it must stand in quotes"
        raise ConfigError(str(path), [f"is not valid YAML: {error}{remedy}"]) from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(str(path), [f"must be a mapping, but is a {type(document).__name__}"])
    return document


class _Loader(yaml.SafeLoader):
    """YAML as version 1.2 has it, and without equal keys.

    PyYAML by itself follows YAML 1.1, where `1e-2` is a text, `no` is false, `1:30` is 90 and
    `2026-01-02` is a date, and takes the last of two equal keys without a word.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML's way: filled below

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """`012` is twelve: an octal number is `0o14`."""
        digits = self.construct_scalar(node).replace("_", "")
        return int(digits, {"0o": 8, "0x": 16}.get(digits[:2], 10))

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Refuse a key that is there twice."""
        node = super().compose_mapping_node(anchor)
        known = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in known:
                raise yaml.MarkedYAMLError(
                    problem=f"{shorten(key.value)} is there twice", problem_mark=key.start_mark
                )
            known.add((key.tag, key.value))
        return node


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads: a text that it would take for a number is quoted."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML's way: filled below


# The core schema of YAML 1.2 (section 10.3.2), and from PyYAML `1_000` and the merge key.
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN", "-+."),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    for _each in (_Loader, _Dumper):
        _each.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first)
        )
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def to_yaml(document: dict[str, Any]) -> str:
    """A document as text that `read_yaml` reads."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False)


def to_flow(value: Any) -> str:
    """A value as it is typed on a command line: `[1, 2]`."""
    text = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, default_flow_style=True, width=math.inf
    )
    return str(text).strip()


def _parse_yaml(text: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except (ValueError, LookupError, AttributeError, RecursionError) as error:
        # PyYAML's own constructors let these out: `!!timestamp x`, `!!bool x`, deep nesting.
        raise yaml.YAMLError(str(error)) from error


def shorten(value: Any) -> str:
    """A value as a message shows it."""
    return _SHORT.repr(value)


def set_by_path(document: dict[str, Any], path: str | Sequence[str], value: Any) -> None:
    """Set `a.b.c` in nested mappings, making the mappings that are missing. Those on the way are
    copied: in YAML other places may be aliases of them.

    Args:
        document: is changed.
        path: with dots, or its parts, which may then have dots.
        value: to set.

    Raises:
        ValueError: a part of the path is a value and not a section.
    """
    *sections, leaf = path.split(".") if isinstance(path, str) else path
    node = document
    for depth, section in enumerate(sections, start=1):
        child = node.get(section, {})
        if not isinstance(child, dict):
            raise ValueError(
                f"{'.'.join([*sections, leaf])}: {'.'.join(sections[:depth])} must be a section, "
                f"but is {shorten(child)}"
            )
        node[section] = node = {**child}
    node[leaf] = value


def split_override(word: str) -> tuple[str, Any]:
    """`a.b=1e-3` -> (`a.b`, value); the value is YAML, but a text is not cut at a ` #`: a word has
    no comment, and a folder may be called `run #1`.

    Raises:
        ConfigError: there is no key, no `=`, or the value is not YAML.
    """
    key, separator, text = word.partition("=")
    if not separator or not key:
        raise ConfigError("command line", [f"an override must read key=value, but got {word!r}"])
    try:
        value, whole = _parse_yaml(text), text.strip()
        is_cut = isinstance(value, str) and re.match(re.escape(value) + r"\s+#", whole)
        return key, whole if is_cut or whole.startswith("#") else value
    except yaml.YAMLError as error:
        raise ConfigError("command line", [f"{key}: {text!r} is not valid YAML"]) from error


def flatten(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as `a.b.c` -> value."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
