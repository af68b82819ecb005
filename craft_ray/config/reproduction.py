"""Settings of a reproduction: which data sets, shots, seeds, backbones and methods."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from craft_ray.config.base import Settings
from craft_ray.config.data import PaperDataset, ShiftedName
from craft_ray.config.places import PathText, PlaceText, WeightsText
from craft_ray.config.run import RUN_NAME_PATTERN
from craft_ray.config.secrets import conceal

PAPER_DATASETS: tuple[PaperDataset, ...] = get_args(PaperDataset)
EMBEDDED = "embedded"
DatasetName = Literal[PaperDataset, "embedded"]
MethodName = Literal[
    "probes",
    "probes_unlabelled",
    "probes_validated",
    "craft",
    "prompt_only",
    "head_only",
    "random_search",
    "white_box",
    "linear_probe",
]
OURS: tuple[MethodName, ...] = ("probes", "probes_unlabelled", "probes_validated")
"""What craft-ray does without a file of settings: one configuration for all data sets and shots,
where the others start from a preset of each data set."""
# A class may have fewer images than shots: drawn with repetition, as for the published numbers.
_OURS: dict[str, Any] = {"data.repeat_small_classes": True}

METHOD_SETTINGS: dict[MethodName, dict[str, Any]] = {
    # Protocol A, the headline: labelled images are shots x classes, and no others.
    "probes": {**_OURS, "data.validation": "none"},
    # Protocol U: images without labels beside them.
    "probes_unlabelled": {**_OURS, "data.validation": "none", "data.unlabelled": "rest"},
    # Protocol B: min(shots, 4) validation images a class.
    "probes_validated": {**_OURS, "data.validation": "few_shot"},
    "craft": {"method": "both"},
    # BBT (Sun et al. 2022) on the same prompts: CMA-ES without the head.
    "prompt_only": {"method": "prompt"},
    "head_only": {"method": "head"},
    # A mean of independent draws is the start: the best of them is deployed.
    "random_search": {"method": "prompt", "fidelity.deployed_prompt": "best"},
    "white_box": {"method": "white_box"},
    # Fitted in one step on the features of the plain training images.
    "linear_probe": {"fidelity.fitness_images": "plain"},
}
"""What makes a method: it stands in place of a data set's preset and of the user's settings."""
METHOD_DEFAULTS: dict[MethodName, dict[str, Any]] = {
    # A bank of views: fresh ones would be encoded for each of its many small steps.
    "white_box": {"data.views": 16, "evaluate_every_generations": 20},
}
"""What a method changes in a data set's preset unless the user says otherwise."""

LEFT_OUT: dict[tuple[MethodName, DatasetName], str] = {
    ("probes_unlabelled", "imagenet"): "1.2 million more images would be sent and asked about"
}
"""Combinations of a grid that are not run, and why."""
WHITE_BOX_METHODS: tuple[MethodName, ...] = ("white_box", "linear_probe")


OF_ONE_RUN = ("max_cost", "time_limit_s")
"""Settings that no cell may have: cells are compared, and must not depend on price or machine."""
COORDINATES = {
    "seed": "seeds",
    "method": "methods",
    "max_concurrent_trials": "max_concurrent_cells",
    "data.shots": "shots",
    "data.source": "datasets",
    "data.source.root": "root",
    "oracle.model": "backbones",
    "oracle.pretrained": "checkpoints",
    "oracle.white_box": "methods",
}
"""Settings of a run that the grid decides, and what decides them."""


def _conceal_in(key: str, value: Any) -> Any:
    if key == "mlflow" and isinstance(value, dict):
        return {k: _conceal_in(f"mlflow.{k}", v) for k, v in value.items()}
    is_address = key == "mlflow.tracking_uri" and isinstance(value, str)
    return conceal(value) if is_address else value


class ReproductionConfig(Settings):
    """`python -m craft_ray.reproduce`: data sets x shots x seeds x backbones x methods."""

    name: Annotated[str, Field(pattern=RUN_NAME_PATTERN)] | None = None
    """Folder under `output_dir`. Default: `reproduce` and the time."""
    output_dir: PlaceText = "runs"
    """A folder, or an address on an object store such as `s3://bucket/prefix`."""
    root: PathText | None = None
    """Folder of all data sets in CoOp's layout; the embedded one needs none."""
    datasets: tuple[DatasetName, ...] = Field(PAPER_DATASETS, min_length=1)
    shifted: tuple[ShiftedName, ...] = ()
    """Out-of-distribution sets on which classifiers tuned on ImageNet are tested as well."""
    shots: tuple[Annotated[int, Field(ge=1)], ...] = Field((1, 2, 4, 8, 16), min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((1, 2, 3), min_length=1)
    imagenet_seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((1,), min_length=1)
    """The paper runs ImageNet once."""
    backbones: tuple[str, ...] = Field(("RN50",), min_length=1)
    """`embedded`, names of open_clip, or `local-dir:<folder>`."""
    checkpoints: dict[str, WeightsText] = Field(default_factory=dict)
    """Backbone -> checkpoint file or open_clip's tag; `openai` where none is given."""
    methods: tuple[MethodName, ...] = Field(("probes", "probes_unlabelled"), min_length=1)
    """In the order in which they run. `probes`: what `craft-ray train` does by default, without
    validation images and with one configuration for all; `probes_unlabelled`: it also learns from
    the training images that were not drawn, without their labels; `probes_validated`: with
    min(shots, 4) validation images a class. `craft`: the paper's; others are for comparison."""
    hand_crafted_zero_shot: bool = True
    """Whether zero-shot is tested with the data set's hand-crafted template as well, where that is
    not the one that is tuned: published zero-shot numbers are of those. One more prediction of each
    test image, once for each backbone and data set, counted as evaluation; no candidate query."""
    max_concurrent_cells: int = Field(2, ge=1)
    run: dict[str, Any] = Field(default_factory=dict)
    """`section.key` -> value of the run settings, for every cell, in place of the preset's."""

    @field_validator("run")
    @classmethod
    def _credentials_stay_outside(cls, run: dict[str, Any]) -> dict[str, Any]:
        # These become a `MlflowConfig` only in the settings of each cell.
        return {key: _conceal_in(key, value) for key, value in run.items()}

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        for field in ("datasets", "shifted", "shots", "seeds", "backbones", "methods"):
            values = getattr(self, field)
            if len(set(values)) < len(values):
                raise ValueError(f"{field}: values must differ, but got {list(values)}")
        return self

    @model_validator(mode="after")
    def _something_is_run(self) -> Self:
        pairs = [(method, name) for method in self.methods for name in self.datasets]
        if all(pair in LEFT_OUT for pair in pairs):
            raise ValueError(
                f"methods must run on at least one of datasets, but got {', '.join(self.methods)} "
                f"and {', '.join(self.datasets)}, where {LEFT_OUT[pairs[0]]}: say methods=[probes]"
            )
        return self

    @model_validator(mode="after")
    def _root_is_given(self) -> Self:
        on_disk = [name for name in self.datasets if name != EMBEDDED]
        if on_disk and self.root is None:
            raise ValueError(
                f"root must be the folder of the data sets {', '.join(on_disk)}, but got null: "
                "say root=FOLDER"
            )
        return self

    @model_validator(mode="after")
    def _grid_decides_the_coordinates(self) -> Self:
        for path, value in self.run.items():
            if path in OF_ONE_RUN:
                raise ValueError(
                    f"run.{path}: must not be set for cells, which are compared: --dry-run says "
                    "what all of them cost"
                )
            for coordinate in sorted(COORDINATES, key=len, reverse=True):
                if sets(path, value, coordinate):
                    shown = max(path, coordinate, key=len)
                    raise ValueError(
                        f"run.{shown}: cannot be set for all cells: say {COORDINATES[coordinate]}"
                    )
        return self

    @property
    def opens_the_box(self) -> bool:
        """Whether any method needs gradients or features."""
        return any(method in WHITE_BOX_METHODS for method in self.methods)


def sets(path: str, value: Any, coordinate: str) -> bool:
    """Whether `path: value` decides a coordinate or a part of it, also from within a section."""
    if path == coordinate or path.startswith(f"{coordinate}."):
        return True
    if not coordinate.startswith(f"{path}."):
        return False
    for key in coordinate.removeprefix(f"{path}.").split("."):
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True
