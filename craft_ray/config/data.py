"""Settings of the data: where it is, which images, how they are shown. Neither torch nor Ray."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from craft_ray.config.base import Settings
from craft_ray.config.places import AbsolutePlaceText, PathText, PlaceText
from craft_ray.config.unlabelled_laws import FEWEST_IMAGES
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

DEFAULT_SHOTS = 16


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


SplitName = Literal["train", "validation", "test"]


class SplitUse(Settings):
    """Which split of the files is used as which, such as `{test: validation}` for files without a
    test split. A split that is used as another is not itself any more."""

    train: SplitName | None = None
    """The split of the files that is trained on. Default: the one of this name."""
    validation: SplitName | None = None
    """The split of the files that chooses. Default: the one of this name."""
    test: SplitName | None = None
    """The split of the files that is tested on. Default: the one of this name. With `validation`,
    its images no longer choose anything."""

    @model_validator(mode="after")
    def _each_is_used_once(self) -> Self:
        used = [name for name in (self.train, self.validation, self.test) if name is not None]
        for name in used:
            if used.count(name) > 1:
                raise ValueError(f"each split of the files must be used once, but {name} is twice")
        return self


class SplitSource(Settings):
    """Files whose splits may be used in another way than their names say."""

    splits: SplitUse = SplitUse()


ClassNames = tuple[str, ...] | PathText
"""Names in their order, or a file of them."""


class SeededSplit(SplitSource):
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
    """Images on disk: `root/{train,val,test}/<class name>/<image>`, where splits may be missing, or
    `root/<class name>/<image>`, which is split by the seed; or a folder with `metadata.csv` or
    `metadata.jsonl`, as Hugging Face's imagefolder has it."""

    kind: Literal["folder"] = "folder"
    root: PathText
    layout: Literal["auto", "classes", "splits"] = "auto"
    """Whether the folders in `root` are classes or splits. `auto`: a folder with a name such as
    `train` is a split if it holds folders of images, and a class if it holds images."""
    label_column: str | None = Field(None, min_length=1)
    """Of `metadata.csv` or `metadata.jsonl`. Default: `label` or `class`."""


class CsvSource(SeededSplit, Photographs):
    """A table with columns `path`, `label` and, unless the seed is to split it, `split`."""

    kind: Literal["csv"] = "csv"
    file: PathText
    root: PathText | None = None
    """What relative paths start from. Default: the folder of the file."""
    path_column: str | None = Field(None, min_length=1)
    """Default: `path`, or the one of `file_name`, `filename`, `filepath`, `file` and `image` that
    is there."""
    label_column: str | None = Field(None, min_length=1)
    """Default: `label`, or the one of `class`, `class_name` and `labels` that is there."""
    split_column: str | None = Field(None, min_length=1)
    """Default: `split`, where it is there."""
    delimiter: Literal[",", ";", "|", "tab"] | None = None
    """Between values. Default: the one that the first line has."""


class LabelledRows(SeededSplit, Photographs):
    """What tables and shards have in common: images beside labels, names of the classes beside
    both, and perhaps no split."""

    config: str | None = Field(None, min_length=1)
    """Which of several configurations, such as `plain_text`: the folder that its files are in, or
    what their names have beside the word of the split."""
    class_names: ClassNames | None = None
    """Names of the classes where the files say numbers only: a list in the order of the numbers, or
    a file with one name a line, or in JSON a list or number -> name. Where labels are words: their
    order. Default: what the files themselves say."""


class ParquetSource(LabelledRows):
    """Parquet files as the Hugging Face hub has them: `root/{split}.parquet`, all shards
    `{split}-00000-of-0000N.parquet`, `{split}/0000.parquet`, there or in folders such as `data` or
    `default`. Files that name no split are split by the seed."""

    kind: Literal["parquet"] = "parquet"
    root: PlaceText
    """Also an address on an object store, such as `s3://bucket/prefix`, or one file."""
    image_column: str = Field("image", min_length=1)
    """`image`: that one, or where it has no images the only column that has."""
    label_column: str = Field("label", min_length=1)
    """Such as `fine_label`. `label`: that one, or where there is none the only column that has
    names of classes, or is called like one of labels."""


class ArrowSource(LabelledRows):
    """A folder that `save_to_disk` of Hugging Face `datasets` wrote."""

    kind: Literal["arrow"] = "arrow"
    root: PathText
    image_column: str = Field("image", min_length=1)
    """`image`: that one, or where it has no images the only column that has."""
    label_column: str = Field("label", min_length=1)
    """`label`: that one, or where there is none the only column that has
    names of classes, or is called like one of labels."""


class WebdatasetSource(LabelledRows):
    """Tar shards in the convention of webdataset, `{split}-000000.tar` or `{split}/0.tar`: an image
    `KEY.jpg` (png, webp ...) beside its label `KEY.cls` or `KEY.json`."""

    kind: Literal["webdataset"] = "webdataset"
    root: PathText
    """A folder of this machine, or one shard."""
    image_column: str | None = Field(None, min_length=1)
    """Which file of a key is the image, such as `left.jpg`. Default: the only one."""
    label_column: str | None = Field(None, min_length=1)
    """The ending of the file of labels, such as `cls`, or the key in the `json` file. Default:
    `cls`, else the only key that is called like one of labels."""


class CoopSource(Photographs):
    """One of the data sets of CoOp and CraFT, in CoOp's layout."""

    kind: Literal["coop"] = "coop"
    root: PathText
    """The folder that holds the folders of all data sets."""
    dataset: CoopName


class AutoSource(SeededSplit, Photographs):
    """A place whose kind is found out: a CSV table, a folder of Parquet files, one of CoOp's data
    sets, or a tree of class folders."""

    kind: Literal["auto"] = "auto"
    root: AbsolutePlaceText
    """A folder, a file, or an address on an object store, where Parquet files are."""


class NamesSource(Settings):
    """Names of the classes and no image, for `data.shots: 0`."""

    kind: Literal["names_only"] = "names_only"
    class_names: ClassNames
    """A list, or a file with one name a line or a list in JSON."""


DataSource = Annotated[
    EmbeddedSource
    | FolderSource
    | CsvSource
    | ParquetSource
    | ArrowSource
    | WebdatasetSource
    | CoopSource
    | AutoSource
    | NamesSource,
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
    shots: Annotated[int, Field(ge=0)] | Literal["all"] = DEFAULT_SHOTS
    """Training images a class. 0: none, and nothing is asked about any; the result is what the
    prompts alone give. `validation` is then `none` unless it is given. `all`: every labelled
    training image, however many a class has. With `method: head` and a head that is fitted there
    may be classes without any: such a class keeps its zero-shot logits."""
    more_classes: ClassNames = ()
    """Names of classes of which nothing is labelled yet, beside those that the files have: a list,
    or a file with one a line. Needs `shots: all` or `shots: 0`."""
    repeat_small_classes: bool = False
    """Sample a class that has fewer images than `shots` with repetition, as CoOp does."""
    validation: Literal["full", "few_shot", "none"] = "full"
    """The whole validation split, or CoOp's min(shots, 4) images a class of it. Without such a
    split: min(shots, 4) a class of the training images that were not chosen; never test images.
    `none`: no image is used for it, so that the labelled images are the training images alone. From
    3 images a class the training images that are held out then decide between a fitted head and
    zero-shot; with fewer nothing can, and the head is returned. Other methods need
    `fidelity.selection: last`."""
    unlabelled: Literal["rest"] | PathText | None = None
    """Images without labels from which a head that is fitted (`head.fit` anchored) learns as well:
    a folder of images, or `rest`, the training images that were not drawn, whose labels nobody
    looks at; at least 10 images a class. Of a folder, broken images are left out, and those that
    are for training, validation or the test. Each costs one prediction more; they are worth several
    points at few shots. All classes should be among them, about as often."""
    unlabelled_per_class: int = Field(100, ge=FEWEST_IMAGES)
    """Of more images without labels than so many times the number of classes, so many are drawn by
    the seed."""
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

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_trained_to_be_validated(cls, document: Any) -> Any:
        if isinstance(document, dict) and document.get("shots") == 0:
            return {"validation": "none", **document}
        return document
