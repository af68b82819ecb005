"""The JSON schema of settings as a file may write them, for editors. A file may say less than the
models hold: a section without its kind, one word for a list of one, a file's name for a section."""

from __future__ import annotations

from typing import Any

from craft_ray.config.base import Settings

Schema = dict[str, Any]

SHORT: dict[str, dict[str, Schema]] = {
    "RunConfig": {
        "max_queries": {
            "type": "object",
            "additionalProperties": {"type": "integer"},
            "description": "For each number of shots.",
        },
        "fidelity": {"enum": ["corrected", "reference"]},
    },
    "SpaceConfig": {"base": {"type": "string", "description": "A file of settings of a run."}},
}
"""Model -> setting -> what a file may have in its place."""
OPTIONAL = {"SpaceConfig": ("name",)}
"""Model -> what is the file's name if it is not given."""


def file_schema(model: type[Settings]) -> Schema:
    """The schema of files for a model."""
    schema = model.model_json_schema()
    for name, each in [(model.__name__, schema), *schema.get("$defs", {}).items()]:
        properties = each.get("properties", {})
        for key, short in SHORT.get(name, {}).items():
            properties[key] = _either(properties[key], short)
        if "when" in properties:  # of a distribution
            values = properties["when"]["additionalProperties"]
            properties["when"]["additionalProperties"] = _either(values, values["items"])
        left = [key for key in each.get("required", ()) if key not in OPTIONAL.get(name, ())]
        if "required" in each:
            each["required"] = left
    found: Schema = _without_kinds(schema)
    return found


def _either(schema: Schema, short: Schema) -> Schema:
    return {"anyOf": [schema, short]}


def _without_kinds(node: Any) -> Any:
    """Without the demand that exactly one kind fits: what is not said has its default."""
    if isinstance(node, list):
        return [_without_kinds(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {
        "anyOf" if key == "oneOf" else key: _without_kinds(value)
        for key, value in node.items()
        if key != "discriminator"
    }
