"""From a data set to what a trial needs: handles of registered image sets, and labels.

The driver prepares once and every trial shares the result, so an image set is sent once and
encoded once a replica.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from craft_ray.config.run import RunConfig
from craft_ray.data.appearance import told
from craft_ray.data.class_halves import dataset_of_half, items_of_half, labels_of_half
from craft_ray.data.dataset import Dataset, Item, check_fine_tunable, labels_of
from craft_ray.data.descriptions import Sentences, read_descriptions
from craft_ray.data.few_shot import hold_in_memory, sample_few_shot, verify_decodable
from craft_ray.data.sources import load_dataset
from craft_ray.data.sources.class_files import with_more_classes
from craft_ray.data.sources.unlabelled import unlabelled_images
from craft_ray.errors import ConfigError, DataError, OracleError
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.metering.planned_spending import DataSize
from craft_ray.method.projection import check_dimensions
from craft_ray.oracle.contract import ClassificationTask, FloatArray, ImageHandle, TaskHandle
from craft_ray.oracle.contract_laws import check_features
from craft_ray.task.class_prompts import ClassPrompts, class_prompts
from craft_ray.task.prepared import (
    NO_IMAGES,
    Augmentation,
    FreshViews,
    LabelArray,
    LabelledImages,
    PreparedTask,
    ViewBank,
)
from craft_ray.task.sending import plain_images, view_images
from craft_ray.task.temperature import ask_temperature
from craft_ray.task.views import FITNESS_STREAM, augmented_view, send_view
from craft_ray.task.vocabulary import extra_names

MAX_PROJECTION_BYTES = 4 * 2**30


@dataclass(frozen=True)
class FewShotData:
    """A data set with its training and validation images chosen."""

    dataset: Dataset
    train: tuple[Item, ...]
    validation: tuple[Item, ...]
    unlabelled: tuple[Item, ...] = ()
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

    def describe(self) -> str:
        """One line for people."""
        size = self.size
        unlabelled = f"{size.num_unlabelled} unlabelled, " if size.num_unlabelled else ""
        return (
            f"{self.dataset.name}: {size.num_classes} classes, {size.num_train or 'no'} training, "
            f"{unlabelled}{size.num_validation or 'no'} validation and "
            f"{size.num_test or 'no'} test images"
        )


def load_data(config: RunConfig) -> FewShotData:
    """Read, sample and verify all images, before anything is started.

    Raises:
        DataError: see `sample_data`, `verify_decodable`.
    """
    data = sample_data(config)
    items = [*data.train, *data.unlabelled, *data.validation, *data.test]
    found = told(verify_decodable(items), len(items), data.dataset.decoding)
    return replace(data, dataset=replace(data.dataset, notes=(*data.dataset.notes, *found)))


def sample_data(config: RunConfig) -> FewShotData:
    """Read the index and choose images, which nobody has decoded yet.

    Raises:
        DataError: see `load_dataset`, `check_fine_tunable`, `sample_few_shot`, `dataset_of_half`.
    """
    dataset = with_more_classes(load_dataset(config.data.source), config.data.more_classes)
    if config.data.shots != 0:
        check_fine_tunable(dataset, may_lack_images=config.stands_classes_without_images)
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
    if config.data.shots != 0:
        check_fine_tunable(dataset, may_lack_images=config.stands_classes_without_images)
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
    rest = items_of_half(sample.rest, labels)
    known = [*train, *validation, *dataset.splits.get("test", ())]
    unlabelled, notes = unlabelled_images(config.data.unlabelled, rest, known, dataset)
    dataset = replace(dataset, notes=(*dataset.notes, *notes))
    return FewShotData(dataset, train, validation, unlabelled).described_for(config)


def _number_of(sentences: Sentences) -> int:
    return sum(map(len, sentences))


def classification_task(config: RunConfig, data: FewShotData) -> ClassificationTask:
    """The task that is registered with the oracle."""
    return ClassificationTask(data.dataset.class_names, config.data.template)


def prepare(
    config: RunConfig,
    data: FewShotData,
    oracle: MeteredOracle,
    earlier_prompt_LE: FloatArray | None = None,
) -> PreparedTask:
    """Register the task and its image sets; of an oracle that answers with cosines, find out the
    factor that makes logits of them, which `oracle` applies from then on.

    Args:
        config: settings of the run.
        data: its images.
        oracle: registers them.
        earlier_prompt_LE: what `prompt.start` names, see `classifiers.earlier_prompt`.

    Raises:
        ConfigError: the head's vocabulary has too few names.
        DataError: two class names are the same to the model's tokenizer.
        OracleError: a class name does not fit, or an answer that the head or `fidelity` needs is
            not served.
    """
    assert (config.prompt.start is None) == (earlier_prompt_LE is None)
    description = oracle.describe()
    if config.fidelity.head_inputs not in description.answers:
        raise OracleError(
            f"fidelity.head_inputs: the oracle must serve it, but got "
            f"{config.fidelity.head_inputs!r} and it serves {description.answers}"
        )
    if config.method == "head" and config.head.kind == "features":
        check_features(description)
    data = data.described_for(config)  # of images that did not come from files
    task = classification_task(config, data)
    if names := extra_names(config, task.class_names):  # a mistake in them costs nothing here
        oracle.register_task(replace(task, class_names=(*task.class_names, *names)))
    handle = oracle.register_task(task)
    prompts = class_prompts(config, task.class_names, task.template, data.descriptions)
    if prompts is not None:
        _check_prompts_fit(task, prompts, config, oracle)
    _check_classes_differ(handle, data.dataset)
    _check_projection_fits(config, handle)
    validation = None
    if data.validation:
        validation = LabelledImages(
            oracle.register_images(plain_images(data.validation, description)),
            labels_of(data.validation),
        )
        oracle.expect(validation.handle)
    augmentation = Augmentation(config.seed, description.transform, config.data.crop_scale_min)
    prepared = PreparedTask(
        task=handle,
        class_names=task.class_names,
        template=task.template,
        oracle_id=description.oracle_id,
        weights_id=description.weights_id,
        fitness=_register_training(config, data, augmentation, oracle),
        views=_views(config, data, augmentation, oracle),
        validation=validation,
        earlier_prompt_LE=earlier_prompt_LE,
        first_copy_N=first_copies(data.train),
        unlabelled=_register_unlabelled(data, oracle),
        descriptions=data.descriptions,
    )
    if description.scale_is_known:
        return prepared
    oracle.logit_scale = 1.0  # it may have prepared another task
    prepared = replace(prepared, temperature=ask_temperature(oracle, prepared))
    oracle.logit_scale = prepared.logit_scale
    return prepared


def _check_prompts_fit(
    task: ClassificationTask, prompts: ClassPrompts, config: RunConfig, oracle: MeteredOracle
) -> None:
    """Raise OracleError, with the class and the setting, if a text is too long for the model, or
    the oracle asks about names only."""
    head = config.probing_head
    assert head is not None
    try:
        whole = replace(task, prompts=prompts.texts)
        handle = oracle.register_task(whole)
        if handle.num_classes != whole.num_texts:
            raise OracleError(
                f"the oracle must ask about the {len(whole.prompts)} texts of "
                "ClassificationTask.prompts, but passes over them"
            )
    except OracleError as error:
        told = str(error)
        of_classes = zip(task.class_names, prompts.of_classes, strict=True)
        found = (name for name, own in of_classes if any(repr(text[:60]) in told for text in own))
        whose = next((f"class {name[:60]!r}: " for name in found), "")
        remedy = (
            f"; shorten it in {head.descriptions_file}"
            if head.descriptions_file
            else "; head.offset=template asks no such text"
        )
        raise OracleError(f"head.offset: {whose}{told}{remedy}") from error


def _register_training(
    config: RunConfig, data: FewShotData, augmentation: Augmentation, oracle: MeteredOracle
) -> LabelledImages:
    labels_N = labels_of(data.train)
    if not data.train:
        return LabelledImages(NO_IMAGES, labels_N)
    description = oracle.describe()
    if config.fidelity.fitness_images == "plain":
        images = plain_images(data.train, description)
    else:
        pixels = augmented_view(data.train, augmentation, FITNESS_STREAM, 0)
        images = view_images(pixels, description)
    return LabelledImages(oracle.register_images(images), labels_N)


def _register_unlabelled(data: FewShotData, oracle: MeteredOracle) -> ImageHandle | None:
    if not data.unlabelled:
        return None
    return oracle.register_images(plain_images(data.unlabelled, oracle.describe()))


def first_copies(items: Sequence[Item]) -> LabelArray | None:
    """[N]: the first row with the same bytes, which a sample with repetition has, or a data set in
    which files were copied; None if all differ.

    Raises:
        DataError: a file is gone.
    """
    seen: dict[bytes, int] = {}
    digests = (hashlib.sha256(item.read()).digest() for item in items)
    first_N = np.array([seen.setdefault(digest, row) for row, digest in enumerate(digests)])
    return first_N if len(seen) < len(items) else None


def expect_training(config: RunConfig, prepared: PreparedTask, oracle: MeteredOracle) -> None:
    """Have what the method asks about first encoded while nothing is asked yet; nobody waits for
    it.

    A replica answers in order, so what is expected too early holds up the first question.

    Args:
        config: of the fine-tuning that comes first.
        prepared: its images.
        oracle: has them.
    """
    if not prepared.has_training:
        return
    oracle.expect(prepared.fitness.handle)
    if config.method == "head" and isinstance(prepared.views, ViewBank):
        # Probes ask about all views at once; a head that is trained in passes takes one for each.
        asks_all = config.head.kind in ("probes", "features")
        num_views = len(prepared.views.handles) if asks_all else 1
        for view in prepared.views.handles[:num_views]:
            oracle.expect(view)


def _check_classes_differ(task: TaskHandle, dataset: Dataset) -> None:
    """One of two classes whose prompts are the same can never be right. ImageNet has such names,
    and ids beside them: its owner's decision."""
    if not task.alike or dataset.class_ids is not None:
        return
    first, second = (dataset.class_names[place] for place in task.alike[0])
    more = f" (and {len(task.alike) - 1} more pairs)" if len(task.alike) > 1 else ""
    raise DataError(
        f"{dataset.name}: class names must differ for the model, but its tokenizer makes the same "
        f"of {first!r} and {second!r}{more}: rename one of the classes, or put their images into "
        "one class"
    )


def _check_projection_fits(config: RunConfig, task: TaskHandle) -> None:
    """A dense A for the contexts of 1,000 classes is larger than most machines; and each token may
    need a coordinate of its own. The trials of a search are looked at again when they begin."""
    prompt = config.prompt
    num_tokens = len(task.initial_context) * (task.num_classes if prompt.per_class else 1)
    searches_words = config.optimizer.kind == "text"
    if config.method in ("both", "prompt") and not searches_words:
        check_dimensions(prompt, num_tokens)
    if not prompt.per_class or prompt.projection != "gaussian":
        return
    num_bytes = 4 * task.num_classes * task.initial_context.size * prompt.intrinsic_dim
    if num_bytes > MAX_PROJECTION_BYTES:
        law = f"prompt.projection: must not be gaussian when A has more than {MAX_PROJECTION_BYTES}"
        raise ConfigError(
            "settings",
            [
                f"{law} bytes, but with prompt.per_class, {task.num_classes} classes and "
                f"prompt.intrinsic_dim={prompt.intrinsic_dim} it has {num_bytes}; fastfood needs "
                "no matrix"
            ],
        )


def _views(
    config: RunConfig, data: FewShotData, augmentation: Augmentation, oracle: MeteredOracle
) -> ViewBank | FreshViews:
    # Also for a base run without a head: a trial may have one. What is not asked is not encoded.
    if config.data.views == "fresh":
        return FreshViews(data.train, augmentation)
    num_views = config.data.views if data.train else 0
    return ViewBank(
        tuple(
            send_view(oracle, data.train, augmentation, index, keep=True)
            for index in range(num_views)
        )
    )
