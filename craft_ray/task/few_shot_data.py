"""The images of a fine-tuning: read, chosen, and those without labels beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from craft_ray.config.run import RunConfig
from craft_ray.data.appearance import Trait, told
from craft_ray.data.class_halves import dataset_of_half, items_of_half, labels_of_half
from craft_ray.data.dataset import Dataset, Item, check_fine_tunable
from craft_ray.data.descriptions import Sentences, read_descriptions
from craft_ray.data.few_shot import decodable, hold_in_memory, sample_few_shot, verify_decodable
from craft_ray.data.lazy_sequence import Joined
from craft_ray.data.sources import load_dataset
from craft_ray.data.sources.class_files import with_more_classes
from craft_ray.data.sources.unlabelled import (
    check_enough,
    drawn_without,
    load_unlabelled,
)
from craft_ray.errors import DataError
from craft_ray.metering.planned_spending import DataSize


@dataclass(frozen=True)
class FewShotData:
    """A data set with its training and validation images chosen."""

    dataset: Dataset
    train: Sequence[Item]
    validation: Sequence[Item]
    unlabelled: Sequence[Item] = ()
    """Whose labels mean nothing."""
    descriptions: Mapping[str, Sentences] = field(default_factory=dict)
    """What the user's files say of the classes, by `head.offset`."""

    @property
    def test(self) -> Sequence[Item]:
        """The test images; none if the data set has no such split."""
        return self.dataset.splits.get("test", ())

    @property
    def size(self) -> DataSize:
        """What decides the spending."""
        return DataSize(
            num_train=len(self.train),
            num_validation=len(self.validation),
            num_test=len(self.test),
            num_classes=len(self.dataset.class_names),
            num_unlabelled=len(self.unlabelled),
            num_sentences=max(map(_number_of, self.descriptions.values()), default=0),
        )

    def described_for(self, config: RunConfig) -> FewShotData:
        """With what the run's file says of the classes, if its head names one.

        Raises:
            ConfigError: see `read_descriptions`.
        """
        head = config.probing_head
        file = None if head is None else head.descriptions_file
        if file is None or file in self.descriptions:
            return self
        read = read_descriptions(file, self.dataset.class_names)
        return replace(self, descriptions={**self.descriptions, file: read})

    def with_unlabelled(self, config: RunConfig, rest: Sequence[Item] = ()) -> FewShotData:
        """With the images that `data.unlabelled` names, which nobody has decoded yet.

        Args:
            config: of the run.
            rest: training images that were not drawn.

        Raises:
            DataError: see `load_unlabelled`, `check_enough`.
        """
        if (source := config.data.unlabelled) is None:
            return self
        listed = load_unlabelled(source, rest, self.dataset.decoding)
        # What is left of the training split is none of the others by its definition.
        used = [] if source == "rest" else Joined([self.train, self.validation, self.test])
        most = config.data.unlabelled_per_class * len(self.dataset.class_names)
        kept, num_used = drawn_without(listed, used, most, config.seed)
        check_enough(kept, self.dataset)
        return replace(self, unlabelled=kept).noted_left_out(
            num_used, "for training, validation or the test"
        )

    def without_broken_unlabelled(self) -> tuple[FewShotData, Counter[Trait]]:
        """Without images that cannot be decoded, which a folder that nobody has looked at may have;
        and how many of the others have each trait.

        Raises:
            DataError: too few are left.
        """
        kept, counts = decodable(self.unlabelled)
        if len(kept) == len(self.unlabelled):
            return self, counts
        check_enough(kept, self.dataset)
        num_broken = len(self.unlabelled) - len(kept)
        return replace(self, unlabelled=kept).noted_left_out(num_broken, "broken"), counts

    def noted_left_out(self, number: int, what: str) -> FewShotData:
        """With a sentence about unlabelled images that are left out, if there are any."""
        sentence = f"data.unlabelled: {number:,} image(s) that are {what} are left out."
        return self.noted(sentence) if number else self

    def noted(self, *sentences: str) -> FewShotData:
        """With sentences that a run tells before it starts."""
        notes = (*self.dataset.notes, *sentences)
        return replace(self, dataset=replace(self.dataset, notes=notes))

    def describe(self) -> str:
        """One line for people."""
        size = self.size
        unlabelled = f"{size.num_unlabelled} unlabelled, " if size.num_unlabelled else ""
        return (
            f"{self.dataset.name}: {size.num_classes} classes, {size.num_train or 'no'} training, "
            f"{unlabelled}{size.num_validation or 'no'} validation and "
            f"{size.num_test or 'no'} test images"
        )


def load_data(
    config: RunConfig, verify: Callable[[Sequence[Item]], Counter[Trait]] = verify_decodable
) -> FewShotData:
    """Read, sample and verify all images, before anything is started.

    Args:
        config: of the run.
        verify: is given the training, validation and test images, each by themselves.

    Raises:
        DataError: see `sample_data`, `verify_decodable`.
    """
    data = sample_data(config)
    counts: Counter[Trait] = Counter()
    num_images = 0
    for items in (data.train, data.validation, data.test):
        counts.update(verify(items))
        num_images += len(items)
    data, of_unlabelled = data.without_broken_unlabelled()
    num_images += len(data.unlabelled)
    return data.noted(*told(counts + of_unlabelled, num_images, data.dataset.decoding))


def sample_data(config: RunConfig) -> FewShotData:
    """Read the index and choose images, which nobody has decoded yet.

    Raises:
        DataError: see `load_dataset`, `check_fine_tunable`, `sample_few_shot`, `dataset_of_half`.
    """
    dataset = with_more_classes(load_dataset(config.data.source), config.data.more_classes)
    _check_training_images(config, dataset)
    sample = sample_few_shot(
        dataset,
        config.data.shots,
        config.seed,
        validation=config.data.validation,
        repeat_small_classes=config.data.repeat_small_classes,
    )
    # After the sample, as in CoOp: a seed has the same images of a class, whichever half is taken.
    labels = labels_of_half(len(dataset.class_names), config.data.classes)
    dataset = dataset_of_half(dataset, config.data.classes)
    _check_training_images(config, dataset)
    train = hold_in_memory(items_of_half(sample.train, labels))
    validation = items_of_half(sample.validation, labels)
    if not validation and config.data.validation != "none":
        raise DataError(
            f"data.validation: {config.data.validation} must find images, but {dataset.name} has "
            f"none for data.classes={config.data.classes} and data.shots={config.data.shots}: "
            "data.validation=none does without"
        )
    if config.data.validation == "few_shot" or "val" not in dataset.splits:
        validation = hold_in_memory(validation)
    data = FewShotData(dataset, train, validation).described_for(config)
    return data.with_unlabelled(config, items_of_half(sample.rest, labels))


def _check_training_images(config: RunConfig, dataset: Dataset) -> None:
    if config.data.shots != 0:
        check_fine_tunable(dataset, may_lack_images=config.stands_classes_without_images)


def _number_of(sentences: Sentences) -> int:
    return sum(map(len, sentences))
