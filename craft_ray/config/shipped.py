"""The spaces and presets that come with craft-ray."""

from __future__ import annotations

import os
from pathlib import Path

from craft_ray.errors import ConfigError

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


def find_settings_file(name: Path, folder: Path = Path()) -> Path:
    """A file of settings that a user names: the one in `folder`, or if there is none and the name
    is `tune_spaces/...`, the one that comes with craft-ray.

    Raises:
        ConfigError: such a name is in neither place.
    """
    own = folder / name
    # Not `Path.exists`, which raises an OSError of a name that is too long.
    if name.parts[:1] != (SPACES.name,) or os.path.exists(own):
        return own
    shipped = SPACES.parent / name
    if not os.path.exists(shipped):
        places = f"{folder.resolve()} and {SPACES.parent}"
        raise ConfigError(str(name), [f"cannot be read: there is no such file in {places}"])
    return shipped
