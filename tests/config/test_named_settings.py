"""A message that names a setting of the model names one that there is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import craft_ray
from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.oracle import OracleConfig

NAMED = re.compile(r"(?<![\w./])oracle\.([a-z_]+)\b(?!\()")
KNOWN = EndpointConfig.model_fields.keys() | OracleConfig.model_fields.keys()


def test_settings_that_messages_name_are_there() -> None:
    wrong = []
    for path in sorted(Path(craft_ray.__file__).parent.rglob("*.py")):
        tree = ast.parse(path.read_text())
        # What stands alone is a text about the code, where `oracle.gate` is a module.
        alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if id(node) in alone:
                    continue
                for name in NAMED.findall(node.value):
                    if name not in KNOWN:
                        wrong.append(f"{path.name}:{node.lineno} oracle.{name}")
    assert not wrong
