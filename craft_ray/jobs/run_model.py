"""The model that a run began with. Settings name a model by its place, and what is there may be
another one when the run goes on: its answers would be mixed with those of the first."""

from __future__ import annotations

from typing import Any

from craft_ray.errors import ConfigError
from craft_ray.files.remote import Place
from craft_ray.files.whole_files import read_json, write_json
from craft_ray.jobs.run_folder import SETTINGS_FILE
from craft_ray.oracle.contract import OracleDescription

MODEL_FILE = "model.json"


def keep_model(folder: Place, description: OracleDescription) -> None:
    """Write down with which model a run begins, unless it stands there."""
    if not (folder / MODEL_FILE).exists():
        write_json(folder / MODEL_FILE, _named(description))


def check_model(folder: Place, description: OracleDescription) -> None:
    """Refuse to go on with another model than the run began with.

    Raises:
        ConfigError: the model is another one, or gets its images in another way.
    """
    now = _named(description)
    if not (folder / MODEL_FILE).exists():
        if description.transform.unusual and _is_of_earlier_version(folder):
            raise ConfigError(
                "--resume",
                [
                    f"{folder.name} was started by an earlier version, which gave every model its "
                    "images as CLIP wants them (short side resized, centre cropped, bicubic), but "
                    f"this model wants: {now['view']}. Results of both would be mixed: start a new "
                    "run"
                ],
            )
        return
    before = read_json(folder / MODEL_FILE)
    if before.get("oracle_id") == now["oracle_id"]:
        return
    others = [
        f"its {name.replace('_', ' ')} was {before.get(name)}, and is {value}"
        for name, value in now.items()
        if before.get(name) != value and name not in ("oracle_id", "weights_id")
    ]
    what = "; ".join(others) or "its weights, architecture, tokenizer or precision are others"
    raise ConfigError(
        "--resume",
        [
            f"the model must be the one that {folder.name} was started with, but {what}. Results "
            "of both would be mixed: put the model back as it was, or start a new run"
        ],
    )


def _named(description: OracleDescription) -> dict[str, Any]:
    return {
        "oracle_id": description.oracle_id,
        "weights_id": description.weights_id,
        "image_size": description.image_size,
        "image_mean": list(description.image_mean),
        "image_std": list(description.image_std),
        "view": description.transform.describe(),
    }


def _is_of_earlier_version(folder: Place) -> bool:
    """Whether its settings do not know how images become squares."""
    settings = read_json(folder / SETTINGS_FILE)
    oracle = settings.get("base", settings).get("oracle", {})
    return oracle.get("kind", "open_clip") == "open_clip" and "resize_mode" not in oracle
