"""Settings of the data: where it is, which images, how they are shown. Neither torch nor Ray."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from craft_ray.config.base import Settings
from craft_ray.config.places import PathText, PlaceText
from craft_ray.config.words import unprintable

PaperDataset = Literal[
    "caltech101",
    "oxford_pets",
    "stanford_cars",
    "oxford_flowers",
    "food101",
    "fgvc_aircraft",
    "sun397",
    "dtd",
    "eurosat",
    "ucf101",
    "imagenet",
]
ShiftedName = Literal["imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r"]
"""For testing only."""
CoopName = Literal[PaperDataset, ShiftedName]
"""The data sets of CoOp and CraFT."""


def _check_template(template: str) -> str:
    if template.count("{}") != 1 or template.replace("{}", "").count("{"):
        raise ValueError(f"must contain {{}} exactly once, but got {template!r}")
    if not template.split("{}")[0].strip():
        raise ValueError(
            "must have at least one word before {}: these words are the context that is tuned, "
            f"but got {template!r}"
        )
    if (character := unprintable(template)) is not None:
        raise ValueError(f"must have printable characters only, but has {character}")
    return template


Template = Annotated[str, AfterValidator(_check_template)]
"""A prompt with a place for the class name."""


ClassHalf = Literal["all", "base", "new"]


Background = Literal["white", "grey", "black", "dropped"]
"""What is seen through transparent parts of an image."""


class Photographs(Settings):
    """How image files become what the model sees."""

    exif_orientation: bool | None = None
    """Turn photographs as their EXIF says, as every viewer does; `false`: as they are stored, which
    is what torchvision's loader gives. Default: `true`, but `false` for CoOp's data sets, as in the
    papers, and for what `craft-ray data convert` has made of them."""
    background: Background | None = None
    """What is seen through transparent parts; `dropped`: the colours stored beneath them, mostly
    black, which is what torchvision's loader gives. Default: `white`, but `dropped` for CoOp's."""


class EmbeddedSource(Settings):
    """The subset of Fashion-MNIST that ships with craft-ray."""

    kind: Literal["embedded"] = "embedded"


class SeededSplit(Settings):
    """How images are split where their layout does not say it: class by class, CoOp's shares."""

    split_seed: int = Field(1, ge=0)
    train_share: float = Field(0.5, gt=0, lt=1)
    val_share: float = Field(0.2, ge=0, lt=1)
    """0: no validation split. What train and validation leave is for the test."""

    @model_validator(mode="after")
    def _something_is_left_for_the_test(self) -> Self:
        if self.train_share + self.val_share >= 1:
            raise ValueError(
                "train_share + val_share < 1 must hold, as the rest is for the test, but got "
                f"train_share={self.train_share:g} and val_share={self.val_share:g}"
            )
        return self


class FolderSource(SeededSplit, Photographs):
    """Images on disk: `root/{train,val,test}/<class name>/<image>`, where `val` may be missing, or
    `root/<class name>/<image>`, which is split by the seed."""

    kind: Literal["folder"] = "folder"
    root: PathText


class CsvSource(SeededSplit, Photographs):
    """A table with columns `path`, `label` and, unless the seed is to split it, `split`."""

    kind: Literal["csv"] = "csv"
    file: PathText
    root: PathText | None = None
    """What relative paths start from. Default: the folder of the file."""


class ParquetSource(Photographs):
    """Hugging Face layout: `root/{split}.parquet` or all of its shards
    `root/{split}-00000-of-0000N.parquet`, also under `root/data`."""

    kind: Literal["parquet"] = "parquet"
    root: PlaceText
    """Also an address on an object store, such as `s3://bucket/prefix`."""
    image_column: str = Field("image", min_length=1)
    label_column: str = Field("label", min_length=1)
    """Such as `fine_label`; its schema must name the classes."""


class CoopSource(Photographs):
    """One of the data sets of CoOp and CraFT, in CoOp's layout."""

    kind: Literal["coop"] = "coop"
    root: PathText
    """The folder that holds the folders of all data sets."""
    dataset: CoopName


DataSource = Annotated[
    EmbeddedSource | FolderSource | CsvSource | ParquetSource | CoopSource,
    Field(discriminator="kind"),
]


class DataConfig(Settings):
    """Which images, how many a class, and how they are shown to the oracle."""

    source: DataSource = EmbeddedSource()
    classes: ClassHalf = "all"
    """`base`: the first half of the classes in the order of their labels, one more where their
    number is odd; `new`: the rest (CoOp's `SUBSAMPLE_CLASSES`). No image of the other half is
    seen, and none of its names is among the classes. The sample is drawn before, so that a class
    has the images that it has with `all`."""
    shots: int = Field(16, ge=1)
    """Training images a class."""
    repeat_small_classes: bool = False
    """Sample a class that has fewer images than `shots` with repetition, as CoOp does."""
    validation: Literal["full", "few_shot"] = "full"
    """The whole validation split, or CoOp's min(shots, 4) images a class of it. Without such a
    split: min(shots, 4) a class of the training images that were not chosen; never test images."""
    template: Template = "a photo of a {}."
    """The words before `{}` give the initial context, the words after it stay fixed."""
    views: Annotated[int, Field(ge=0, le=256)] | Literal["fresh"] = 16
    """Augmented views of each training image, sent and encoded once, through which the head's
    epochs cycle; 0 where a head is fitted to the plain images alone (`head.kind` linear, probes or
    features), as each view costs as much as the images. `fresh`: the paper's new view for every
    generation, sent and encoded each time; `fidelity: reference` leaves this setting alone, the
    presets of tune_spaces/paper set it."""
    crop_scale_min: float = Field(0.5, gt=0, le=1)
    """Smallest area share of RandomResizedCrop."""
