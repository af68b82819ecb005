"""What every benchmark result carries: command, commit, device and versions."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import craft_ray

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"


class DirtyTreeError(RuntimeError):
    """The result could not be reproduced from a commit."""


def commit() -> str:
    """The commit that is measured.

    Raises:
        DirtyTreeError: tracked code differs from it.
    """
    code = ["--", "craft_ray", "benchmarks/*.py", "tune_spaces", "pyproject.toml"]
    changed = _git("status", "--porcelain", "--untracked-files=no", *code)
    if changed:
        raise DirtyTreeError(f"commit the code before it is measured:\n{changed}")
    return _git("rev-parse", "HEAD")


def device_name(device: str) -> str:
    """The chip, as it calls itself."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.split(':')[1].strip()}, {torch.get_num_threads()} threads"
    return platform.processor() or platform.machine()


def write_result(
    name: str,
    commit_id: str,
    result: dict[str, Any],
    device: str = "cpu",
    *,
    module: str | None = None,
    folder: Path = RESULTS,
) -> Path:
    """Store a result with what is needed to make it again.

    Args:
        name: of the file.
        commit_id: what was measured.
        result: the numbers.
        device: torch's name of it.
        module: the benchmark, where one writes several files.
        folder: where the file goes.
    """
    module = module or name
    document = {
        "benchmark": module,
        "command": shlex.join(["python", "-m", f"benchmarks.{module}", *sys.argv[1:]]),
        "commit": commit_id,
        "device": device_name(device),
        "versions": _versions(),
        **result,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(in_lines(document), encoding="utf-8")
    return path


def _versions() -> dict[str, str]:
    """Those that decide a result, also where only what a model needs is installed."""
    try:
        from craft_ray.task.provenance import versions

        return versions()
    except ImportError as error:
        found = {"torch": torch.__version__, "craft_ray": craft_ray.__version__}
        return {"python": platform.python_version(), **found, "ray": f"{error}"}


def in_lines(document: dict[str, Any]) -> str:
    """JSON with a line for each entry, and for each entry of its lists."""
    parts = []
    for key, value in document.items():
        text = json.dumps(value)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            text = "[\n" + ",\n".join(f"  {json.dumps(entry)}" for entry in value) + "\n ]"
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _git(*words: str) -> str:
    completed = subprocess.run(
        ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return completed.stdout.strip()
