"""Images that nobody has labelled, and which of them are worth a label.

Each is asked about once, plain: for its features where the model gives them, else under names that
have nothing to do with the task, as nobody may know its classes yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.run import RunConfig
from craft_ray.data.dataset import Item
from craft_ray.data.sources.index import found_path
from craft_ray.data.sources.listing import Files
from craft_ray.data.sources.table import SKIPPED, Columns, read_table
from craft_ray.data.split_names import split_of
from craft_ray.errors import ConfigError, DataError
from craft_ray.inference.asked_once import (
    Progress,
    ask_features,
    ask_logits,
    digests_of,
    no_progress,
)
from craft_ray.inference.images import NO_LABEL, ImagesAt
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.typical import choose_typical
from craft_ray.oracle.contract import ClassificationTask, FloatArray
from craft_ray.task.vocabulary import extra_names

TRAINING = "train"
FEWEST_NAMES = 20
"""Fewer hide most of what the model sees in an image."""


@dataclass(frozen=True)
class Labelled:
    """An image whose label is known, or that is to have none.

    Attributes:
        path: of its file.
        label: its class, or `SKIPPED`.
        split: the word for it in the table; images to be learned from where there is none.
    """

    path: Path
    label: str
    split: str = TRAINING

    @property
    def is_skipped(self) -> bool:
        """Whether it is left out for good."""
        return self.label == SKIPPED


@dataclass(frozen=True)
class Pool:
    """Images that can be asked about, no two of which are the same file.

    Attributes:
        items: of all places, in their order; then labelled images that are in none of them.
        known: places among them of those that are labelled.
        num_images: that were listed.
        left_out: what is not among the items, in a few words each.
    """

    items: tuple[Item, ...]
    known: tuple[int, ...]
    num_images: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Suggested:
    """An image that is worth a label."""

    item: Item
    path: Path
    stands_for: int
    """Images in its cluster, itself among them."""


def labelled_so_far(place: Path) -> list[Labelled]:
    """What somebody has labelled.

    Args:
        place: a table, as `suggest --out` writes it, some of whose labels may be missing, or
            `SKIPPED`; or a folder of class folders, perhaps in folders of splits.

    Raises:
        DataError: it cannot be read, or has no image that is labelled or skipped.
    """
    if place.is_dir():
        return [_in_class_folder(place, path) for path in map(_path_of, ImagesAt([place]))]
    files = Files()
    return [
        Labelled(
            found_path(place.parent, row.path, files),
            SKIPPED if row.is_skipped else row.label,
            row.split or TRAINING,
        )
        for row in read_table(place, Columns(), skipped_will_do=True)
        if row.label or row.is_skipped
    ]


def _in_class_folder(place: Path, path: Path) -> Labelled:
    """Raises:
    DataError: it is in no class folder.
    """
    *folders, _ = path.relative_to(place).parts
    split = TRAINING
    if len(folders) > 1 and split_of(folders[0]) is not None:
        split = folders.pop(0)
    if not folders:
        raise DataError(
            f"--labelled: images must be in a folder of their class, but {path} is directly in "
            f"{place}"
        )
    return Labelled(path, folders[0], split)


def _path_of(item: Item) -> Path:
    """Raises:
    DataError: it is no file of its own, so that no table can name it.
    """
    if isinstance(item.encoded, Path):
        return item.encoded
    raise DataError(
        f"{item.name}: must be an image file, as labels come back by paths, but is a row of a "
        "table: write its images into a folder"
    )


def gather(
    images: Iterable[Item], labelled: Sequence[Labelled], progress: Progress = no_progress
) -> Pool:
    """Read all images once.

    Args:
        images: that may be suggested.
        labelled: that are known already, whether they are among `images` or not. What is skipped
            of them is in neither.
        progress: is told of each image that is read, by the number 1.

    Raises:
        DataError: an image is no file, or none can be read.
    """
    listed = [replace(item, encoded=_path_of(item)) for item in images]
    looked_at = [Item(each.path, NO_LABEL, str(each.path)) for each in labelled]
    found = list(zip(labelled, looked_at, digests_of(looked_at, progress), strict=True))
    of_labelled = [(item, digest) for each, item, digest in found if not each.is_skipped]
    known_digests = {digest for _, digest in of_labelled}
    # Of copies, one of which has a label, that is what somebody knows.
    skipped_digests = {digest for each, _, digest in found if each.is_skipped} - known_digests
    items: list[Item] = []
    known: list[int] = []
    seen: set[bytes] = set()
    broken = twice = unwritable = skipped = 0
    for item, digest in zip(listed, digests_of(listed, progress), strict=True):
        if digest is None:
            broken += 1
        elif digest in seen:
            twice += 1
        elif digest in skipped_digests:
            seen.add(digest)
            skipped += 1
        elif not _can_be_written(item.name):
            unwritable += 1
        else:
            seen.add(digest)
            if digest in known_digests:
                known.append(len(items))
            items.append(item)
    num_to_choose = len(items) - len(known)
    for item, digest in of_labelled:
        if digest is not None and digest not in seen:
            seen.add(digest)
            known.append(len(items))
            items.append(item)
    if not num_to_choose:
        raise DataError(
            f"IMAGES: at least one image must be readable and not labelled or skipped yet, but of "
            f"{len(listed):,} none is"
        )
    reasons = (
        (broken, "that are broken"),
        (twice, "that are there twice"),
        (unwritable, "whose names are not UTF-8, so that no table can name them"),
        (skipped, f"whose label is {SKIPPED}"),
        (
            sum(digest is None for _, digest in of_labelled),
            "that are labelled and cannot be read",
        ),
    )
    left_out = tuple(f"{number:,} image(s) {reason}" for number, reason in reasons if number)
    return Pool(tuple(items), tuple(known), len(listed), left_out)


def _can_be_written(name: str) -> bool:
    """In a table: on a disk a name may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def gives_features(config: RunConfig) -> bool:
    """Whether the model says what it sees without any name.

    Raises:
        OracleError: the settings of an endpoint do not fit its dialect.
    """
    if not isinstance(config.oracle, EndpointConfig):
        return config.oracle.serves_features
    from craft_ray.metering.planned_bill import asker_of

    return asker_of(config.oracle).gives_features


def names_asked(config: RunConfig) -> tuple[str, ...]:
    """What each image is asked about; nothing where features are given.

    Raises:
        ConfigError: there are too few names.
    """
    if gives_features(config):
        return ()
    names = extra_names(config, ())
    if len(names) < FEWEST_NAMES:
        problem = f"must be at least {FEWEST_NAMES} to tell images apart, but got {len(names)}"
        raise ConfigError("head.names", [problem])
    return names


def ask(
    oracle: MeteredOracle,
    config: RunConfig,
    pool: Pool,
    progress: Progress = no_progress,
) -> FloatArray:
    """Answers about all images, [N, F]. Blocks until all are there.

    Raises:
        OracleError: the model fails.
        DataError: an image cannot be read any more.
    """
    names = names_asked(config)
    if not names:
        return ask_features(oracle, pool.items, progress)
    return ask_logits(oracle, ClassificationTask(names, config.data.template), pool.items, progress)


def suggest(answers_NF: FloatArray, pool: Pool, budget: int, config: RunConfig) -> list[Suggested]:
    """The images whose labels are worth most, in that order; `budget` of them, or all."""
    chosen = choose_typical(
        answers_NF, budget, pool.known, config.seed, standardised=not gives_features(config)
    )
    items = [(pool.items[each.row], each.stands_for) for each in chosen]
    return [Suggested(item, _path_of(item), number) for item, number in items]
