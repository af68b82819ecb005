"""From a data set to what a trial needs: handles of registered image sets, and labels.

The driver prepares once and every trial shares the result, so an image set is sent once and
encoded once a replica.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from craft_ray.config.run import RunConfig
from craft_ray.data.crops import sizes_of
from craft_ray.data.dataset import Dataset, labels_of
from craft_ray.data.recipe import Sources
from craft_ray.errors import ConfigError, DataError, OracleError
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.projection import check_dimensions
from craft_ray.oracle.contract import ClassificationTask, FloatArray, ImageHandle, TaskHandle
from craft_ray.oracle.contract_laws import check_features
from craft_ray.task.class_prompts import check_prompts_fit, class_prompts
from craft_ray.task.few_shot_data import FewShotData as FewShotData
from craft_ray.task.few_shot_data import load_data as load_data
from craft_ray.task.few_shot_data import sample_data as sample_data
from craft_ray.task.prepared import (
    NO_IMAGES,
    Augmentation,
    FreshViews,
    LabelArray,
    LabelledImages,
    PreparedTask,
    ViewBank,
)
from craft_ray.task.sending import send
from craft_ray.task.temperature import ask_temperature
from craft_ray.task.views import FITNESS_STREAM, HEAD_STREAM, view_crops
from craft_ray.task.vocabulary import extra_names

MAX_PROJECTION_BYTES = 4 * 2**30


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
        check_prompts_fit(task, prompts, config, oracle)
    _check_classes_differ(handle, data.dataset)
    _check_projection_fits(config, handle)
    validation = None
    if data.validation:
        handle_of_validation = send(oracle, Sources.of(data.validation))
        validation = LabelledImages(handle_of_validation, labels_of(data.validation))
        oracle.expect(validation.handle)
    training = Sources.of(data.train)
    fitness, views = _register_training(config, training, oracle)
    prepared = PreparedTask(
        task=handle,
        class_names=task.class_names,
        template=task.template,
        oracle_id=description.oracle_id,
        weights_id=description.weights_id,
        fitness=LabelledImages(fitness, labels_of(data.train)),
        views=views,
        validation=validation,
        earlier_prompt_LE=earlier_prompt_LE,
        first_copy_N=first_copies(training),
        unlabelled=_register_unlabelled(data, oracle),
        descriptions=data.descriptions,
    )
    if description.scale_is_known:
        return prepared
    oracle.logit_scale = 1.0  # it may have prepared another task
    prepared = replace(prepared, temperature=ask_temperature(oracle, prepared))
    oracle.logit_scale = prepared.logit_scale
    return prepared


def _register_training(
    config: RunConfig, training: Sources, oracle: MeteredOracle
) -> tuple[ImageHandle, ViewBank | FreshViews]:
    """What candidates are scored on, and what heads are trained on."""
    # Also for a base run without a head: a trial may have one. What is not asked is not encoded.
    number = config.data.views
    is_plain = config.fidelity.fitness_images == "plain"
    sizes_N2 = sizes_of(training.items if number or not is_plain else ())
    augmentation = Augmentation(config.seed, config.data.crop_scale_min)
    fresh = FreshViews(training, sizes_N2, augmentation)
    if not training.items:
        return NO_IMAGES, fresh if number == "fresh" else ViewBank(())
    crops_N5 = None if is_plain else view_crops(sizes_N2, augmentation, FITNESS_STREAM, 0)
    fitness = send(oracle, training, crops_N5)
    if number == "fresh":
        return fitness, fresh
    crops = (view_crops(sizes_N2, augmentation, HEAD_STREAM, index) for index in range(number))
    return fitness, ViewBank(tuple(send(oracle, training, crops_N5) for crops_N5 in crops))


def _register_unlabelled(data: FewShotData, oracle: MeteredOracle) -> ImageHandle | None:
    return send(oracle, Sources.of(data.unlabelled)) if data.unlabelled else None


def first_copies(images: Sources) -> LabelArray | None:
    """[N]: the first row with the same bytes, which a sample with repetition has, or a data set in
    which files were copied; None if all differ."""
    seen: dict[bytes, int] = {}
    first_N = np.array([seen.setdefault(digest, row) for row, digest in enumerate(images.digests)])
    return first_N if len(seen) < len(images.items) else None


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
