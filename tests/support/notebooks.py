"""Notebooks without Jupyter: their cells in one namespace, as a reader runs them."""

from __future__ import annotations

import ast
import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any


def execute(path: Path) -> list[str]:
    """Run all code cells of a notebook, in the present folder; what each of them shows.

    Raises:
        Exception: whatever a cell raises.
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    namespace: dict[str, Any] = {"__name__": "__main__"}
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return [
        _run(text, f"{path.name}, cell {number}", namespace) for number, text in enumerate(code)
    ]


def _run(text: str, name: str, namespace: dict[str, Any]) -> str:
    tree = ast.parse(text, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    shown = io.StringIO()
    with redirect_stdout(shown):
        exec(compile(tree, name, "exec"), namespace)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), name, "eval"), namespace)
            if value is not None:
                print(repr(value))
    return shown.getvalue()
