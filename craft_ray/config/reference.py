"""Every setting there is, read from the models: path, what it may be, default, meaning."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from craft_ray.config.base import Settings
from craft_ray.config.documents import to_yaml
from craft_ray.config.suggestions import kinds_in

KIND = "kind"
REQUIRED = "must be given"
LAWS = {
    "minimum": ">= {}",
    "exclusiveMinimum": "> {}",
    "maximum": "<= {}",
    "exclusiveMaximum": "< {}",
    "minLength": "at least {} characters",
    "minItems": "at least {} entries",
    "pattern": "matches {}",
}
"""JSON schema's word -> ours."""


@dataclass(frozen=True)
class Setting:
    """One of them.

    Attributes:
        path: as it is typed, `section.key`.
        kind: of the section that has it, where that has several kinds; else empty.
        takes: what it may be, in words.
        default: as YAML.
        about: what it means; empty where the name says it.
    """

    path: str
    kind: str
    takes: str
    default: str
    about: str


def all_settings(
    model: type[Settings], above: str = "", kind: str = "", exclude: Collection[str] = ()
) -> Iterator[Setting]:
    """The settings of a model and of its sections, in their order.

    Args:
        model: of the settings.
        above: path to it, with a dot at its end.
        kind: of it, where its section has several.
        exclude: sections that are left out.
    """
    for name, field in model.model_fields.items():
        if name in exclude:
            continue
        path = f"{above}{name}"
        kinds = kinds_in(field.annotation)
        section = _section_of(field.annotation)
        if kinds:
            yield Setting(f"{path}.{KIND}", kind, " or ".join(kinds), _default_kind(field), "")
            for each, inner in kinds.items():
                assert issubclass(inner, Settings)
                yield from (
                    setting
                    for setting in all_settings(inner, f"{path}.", each)
                    if setting.path != f"{path}.{KIND}"
                )
        elif section is not None:
            yield from all_settings(section, f"{path}.", kind)
        else:
            about = " ".join((field.description or "").split())
            yield Setting(path, kind, _takes(field), _default(field), about)


def _section_of(annotation: Any) -> type[Settings] | None:
    """The model of a section that has one kind and cannot be left out."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    return None


def _default_kind(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    return str(getattr(default, KIND, REQUIRED))


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined:
        return REQUIRED
    if isinstance(default, BaseModel):
        default = default.model_dump(mode="json", exclude_defaults=True)
    elif isinstance(default, tuple):
        default = list(default)
    return to_yaml({"x": default}).removeprefix("x:").strip().replace("\n- ", ", ").lstrip("- ")


def _takes(field: FieldInfo) -> str:
    annotation: Any = field.annotation
    for law in field.metadata:
        annotation = Annotated[annotation, law]
    try:
        return _words(TypeAdapter(annotation).json_schema())
    except Exception:  # a type that has no schema, such as a callable
        return " or ".join(getattr(each, "__name__", str(each)) for each in get_args(annotation))


def _words(schema: dict[str, Any]) -> str:
    """A schema in words."""
    if "anyOf" in schema or "oneOf" in schema:
        members = [_words(member) for member in schema.get("anyOf", schema.get("oneOf", []))]
        return " or ".join(dict.fromkeys(members))
    if "$ref" in schema or schema.get("type") == "object":
        return "section"
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    laws = [words.format(schema[name]) for name, words in LAWS.items() if name in schema]
    return ", ".join([str(schema.get("type", "any")), *laws])
