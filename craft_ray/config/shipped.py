"""The spaces and presets that come with craft-ray."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
SPACES = next(
    folder
    for folder in (_PACKAGE / "tune_spaces", _PACKAGE.parent / "tune_spaces")
    if folder.is_dir()
)
"""The folder `tune_spaces`: inside an installed package, beside it in a checkout."""
DEFAULT_SPACE = SPACES / "quickstart.yaml"
"""What `python -m craft_ray.tune` searches without a file."""
DEFAULT_RUN = SPACES / "runs" / "probes.yaml"
"""What `python -m craft_ray.train` runs without a file: the first trial of the default search."""
CRAFT_RUN = SPACES / "runs" / "craft.yaml"
"""The paper's method."""
