"""The spaces and presets that come with craft-ray."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from craft_ray.config.places import expand_home
from craft_ray.config.suggestions import did_you_mean
from craft_ray.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent.parent
_PLACES = (_PACKAGE / "tune_spaces", _PACKAGE.parent / "tune_spaces")
SPACES = next((folder for folder in _PLACES if folder.is_dir()), _PLACES[0])
"""The folder `tune_spaces`: inside an installed package, beside it in a checkout. Where only the
package's code was copied, as to Ray's workers, there is none, and nobody reads from it."""
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
    own = folder / expand_home(str(name))
    if (data := _as_data(own)) is not None:
        raise ConfigError(str(name), [f"must be a file of settings, but is {data}"])
    # Not `Path.exists`, which raises an OSError of a name that is too long.
    if os.path.exists(own):
        return own
    if name.parts[:1] != (SPACES.name,):
        near = _like(own)
        problem = (
            "cannot be read: there is no such file of settings, nor folder or .csv table of images"
            + (f": did you mean {near}?" if near else "")
        )
        raise ConfigError(str(name), [problem])
    shipped = SPACES.parent / name
    if not os.path.exists(shipped):
        places = f"{folder.resolve()} and {SPACES.parent}"
        near = did_you_mean(name.as_posix(), shipped_names())
        raise ConfigError(str(name), [f"cannot be read: there is no such file in {places}{near}"])
    return shipped


def _as_data(path: Path) -> str | None:
    """What is at the path of somebody's data, and the words that name it so; None: nothing."""
    if path.suffix.lower() == ".csv" and os.path.isfile(path):
        return f"a table of images: say data.source.kind=csv data.source.file={path}"
    if not os.path.isdir(path):
        return None
    if any(path.glob("*.parquet")) or any(path.glob("data/*.parquet")):
        return f"a folder of Parquet files: say data.source.kind=parquet data.source.root={path}"
    return (
        "a folder: for images in class folders say data.source.kind=folder "
        f"data.source.root={path}, for CoOp's data sets `craft-ray reproduce "
        f"root={path}`"
    )


def _like(path: Path) -> str | None:
    """What may have been meant by a path at which nothing is: a folder beside it, unless the path
    is that of a file; or a file of settings, beside it or shipped."""
    known = {Path(word).name: word for word in reversed(shipped_names())}
    try:
        known |= {each.name: str(each) for each in path.parent.glob("*.yaml")}
        folders = [] if path.suffix else [each for each in path.parent.iterdir() if each.is_dir()]
    except (OSError, ValueError):  # ValueError: a null character
        return None
    named = {folder.name: f"{folder}/" for folder in folders}
    stems = {Path(name).stem: word for name, word in known.items()}  # all files end alike
    for places in (named, stems):
        if near := difflib.get_close_matches(path.stem[:100], places, n=1, cutoff=0.7):
            return places[near[0]]
    return None


def shipped_names() -> list[str]:
    """Of the files of settings that come with craft-ray, `tune_spaces/...`."""
    found = sorted(SPACES.rglob("*.yaml"), key=lambda path: (len(path.parts), path))
    return [path.relative_to(SPACES.parent).as_posix() for path in found]
