"""What a run will spend, from its settings alone. A test holds this arithmetic to the ledger."""

from __future__ import annotations

from dataclasses import dataclass, replace

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.heads import PROMPTS_PER_CLASS, ProbingHeadConfig
from craft_ray.config.money import money
from craft_ray.config.run import RunConfig
from craft_ray.errors import ConfigError
from craft_ray.metering.ledger import Purpose, Spending, cost_of

TEST_BLOCK_IMAGES = 1000
"""Test images that are sent and asked about at a time: 50,000 at once would be 7.5 GB."""
MIN_TEST_BLOCKS = 4
"""So that several replicas encode images at a time."""
SMALL_TEST_BLOCK = 256
"""Not worth to be divided: every block asks for all prompts again."""


@dataclass(frozen=True)
class DataSize:
    """What of a data set decides the spending."""

    num_train: int
    """Training images after sampling."""
    num_validation: int
    num_test: int
    num_classes: int
    num_unlabelled: int = 0
    num_sentences: int = 0
    """Of all classes, in the file that `head.offset` names."""

    def num_prompts(self, head: ProbingHeadConfig) -> int:
        """Texts of a head's offset."""
        each = PROMPTS_PER_CLASS.get(head.offset)
        return self.num_sentences if each is None else each * self.num_classes

    def num_texts(self, head: ProbingHeadConfig) -> int:
        """What a head asks about an image: class names, names beside them, and texts of its
        offset."""
        return self.num_classes + head.num_names + self.num_prompts(head)


@dataclass(frozen=True)
class SharedSize:
    """What of `SharedProbes` decides the spending."""

    num_contexts: int = 0
    num_names: int = 0


ALONE = SharedSize()
"""No search, or nothing to share."""


def plan_run(config: RunConfig, size: DataSize, shared: SharedSize = ALONE) -> Spending:
    """Spending of the worker of a run that goes to the end of its budget. Zero-shot is the driver's
    to ask.

    Args:
        config: settings of the run.
        size: of its data.
        shared: with the other trials of its search, of which none has asked before it.
    """
    num_earlier = 0 if config.prompt.start is None else 1
    if not size.num_train:
        return _plan_untouched(config, size)
    total = _cost_of_validation(num_earlier, size, size.num_classes)
    if (head := config.probing_head) is not None:
        if config.method == "both":
            return total + _plan_probe_search(config, head, size)
        if head.kind == "features":
            return total + _plan_features(config, head, size)
        return total + _plan_probing(config, head, size, shared)
    generations = config.num_generations
    for _ in range(-(-generations // config.evaluate_every_generations)):
        total += _cost_of_validation(1, size, size.num_classes)
    if config.method in ("both", "prompt"):
        total += _cost_of_search(config, size, size.num_classes)
    for _ in range(generations // config.num_batches):
        if config.method == "white_box":
            total += cost_of("white_box", 1, size.num_train, size.num_classes)
            if config.data.views == "fresh":
                total += Spending(images_sent=size.num_train)
            continue
        if config.method != "prompt" and config.data.views == "fresh":
            total += Spending(images_sent=size.num_train)
        if config.method != "prompt":
            total += cost_of("head", 1, size.num_train, size.num_classes)
    return total


def _plan_untouched(config: RunConfig, size: DataSize) -> Spending:
    """The texts of the head's offset, on validation images; zero-shot is the driver's to ask."""
    head = config.probing_head
    if head is None or not head.asks_prompts:
        return Spending()
    return _cost_of_validation(1, size, size.num_classes + size.num_prompts(head))


def _cost_of_validation(num_contexts: int, size: DataSize, num_names: int) -> Spending:
    """Nothing, not even texts, without validation images."""
    if not size.num_validation:
        return Spending()
    return cost_of("evaluation", num_contexts, size.num_validation, num_names)


def _cost_of_search(config: RunConfig, size: DataSize, num_names: int) -> Spending:
    """A population for each batch of the training images, in every pass over them."""
    num_candidates = config.num_generations // config.num_batches * config.optimizer.population
    cost = cost_of("search", num_candidates, size.num_train, num_names)
    return replace(cost, text_encodes=config.num_batches * cost.text_encodes)


def _plan_probing(
    config: RunConfig, head: ProbingHeadConfig, size: DataSize, shared: SharedSize
) -> Spending:
    """Every context once on the plain images and once on each view; a validation asks about all
    contexts so far."""
    assert config.data.views != "fresh"  # a law of the settings
    num_names = size.num_texts(head)
    more_names = max(shared.num_names - head.num_names, 0)

    def cost(purpose: Purpose, num_contexts: int, num_images: int) -> Spending:
        more_text = min(num_contexts, shared.num_contexts) * more_names
        total = cost_of(purpose, num_contexts, num_images, num_names)
        return total + Spending(text_encodes=more_text)

    total = cost("search", head.num_contexts, size.num_train)
    for _ in range(config.data.views):
        total += cost("head", head.num_contexts, size.num_train)
    if size.num_unlabelled:
        total += cost("head", head.num_contexts, size.num_unlabelled)
    for generation in range(1, config.num_generations + 1):
        num_contexts = min(generation * head.contexts_per_generation, head.num_contexts)
        if size.num_validation and config.evaluates_after(generation):
            total += cost("evaluation", num_contexts, size.num_validation)
    return total


def _plan_features(config: RunConfig, head: ProbingHeadConfig, size: DataSize) -> Spending:
    """The features of every image once, and those of the prompts."""
    assert config.data.views != "fresh"  # a law of the settings
    total = cost_of("search", 1, size.num_train, size.num_texts(head))
    total += cost_of("head", config.data.views, size.num_train, num_classes=0)
    if size.num_unlabelled:
        total += cost_of("head", 1, size.num_unlabelled, num_classes=0)
    return total + _cost_of_validation(1, size, num_names=0)


def _plan_probe_search(config: RunConfig, head: ProbingHeadConfig, size: DataSize) -> Spending:
    """A population for each generation; where a head is fitted, the prompt found so far on the
    plain images and on each view."""
    assert config.data.views != "fresh"  # a law of the settings
    num_names = size.num_texts(head)
    total = _cost_of_search(config, size, num_names)
    for generation in range(1, config.num_generations + 1):
        is_evaluated = config.evaluates_after(generation)
        if is_evaluated or generation in config.search_ends:
            total += cost_of("head", 1 + config.data.views, size.num_train, num_names)
        if is_evaluated:
            num_contexts = 1 + sum(end < generation for end in config.search_ends)
            total += _cost_of_validation(num_contexts, size, num_names)
    return total


def examined_blocks(num_images: int) -> list[range]:
    """Which test images are asked about together, in order."""
    share = max(SMALL_TEST_BLOCK, -(-num_images // MIN_TEST_BLOCKS))
    size = min(TEST_BLOCK_IMAGES, share)
    return [range(at, min(at + size, num_images)) for at in range(0, num_images, size)]


def plan_zero_shot(size: DataSize) -> Spending:
    """A classifier of one prompt, asked about all test images."""
    total = Spending()
    for block in examined_blocks(size.num_test):
        total += cost_of("evaluation", 1, len(block), size.num_classes)
    return total


def plan_driver(config: RunConfig, size: DataSize, *, tests_zero_shot: bool = True) -> Spending:
    """The driver's own part: it sends the image sets, asks zero-shot on validation, and the result
    and perhaps zero-shot on test. Of an oracle that answers with cosines it asks zero-shot on the
    training images as well (`craft_ray.task.temperature`)."""
    total = _plan_image_sets(config, size)
    if size.num_train and _fits_scale(config):
        total += cost_of("head", 1, size.num_train, size.num_classes)
    total += _cost_of_validation(1, size, size.num_classes)
    return total + plan_test(config, size, tests_zero_shot=tests_zero_shot)


def _fits_scale(config: RunConfig) -> bool:
    if not isinstance(config.oracle, EndpointConfig):
        return False
    from craft_ray.oracle.remote.adapters import fits_scale  # here: adapters take their time

    return fits_scale(config.oracle)


def _plan_image_sets(config: RunConfig, size: DataSize) -> Spending:
    """All are sent that may be asked about, but for the test images."""
    num_views = 0 if config.data.views == "fresh" else config.data.views
    num_others = size.num_unlabelled + size.num_validation
    return Spending(images_sent=(1 + num_views) * size.num_train + num_others)


def plan_feature_probe(config: RunConfig, size: DataSize) -> Spending:
    """All of a run of `tuners.feature_probe`: the features of every image once."""
    total = _plan_image_sets(config, size)
    for num_images in (size.num_train, size.num_validation):
        total += cost_of("white_box", 1, num_images, num_classes=0)
    return total + plan_feature_probe_test(size)


def plan_feature_probe_test(size: DataSize) -> Spending:
    """The test images are sent, and the features of each asked for."""
    features = cost_of("white_box", 1, size.num_test, num_classes=0)
    return Spending(images_sent=size.num_test) + features


def plan_test(config: RunConfig, size: DataSize, *, tests_zero_shot: bool = True) -> Spending:
    """The test images are sent, and the result and perhaps zero-shot asked about each."""
    total = Spending(images_sent=size.num_test)
    num_contexts, num_names = 1, size.num_classes
    if (head := config.probing_head) is not None and not size.num_train:
        if not head.asks_prompts:  # the result is zero-shot, and the driver asks nothing twice
            return total + plan_zero_shot(size)
        num_names += size.num_prompts(head)
    elif head is not None:
        num_contexts, num_names = head.num_contexts, size.num_texts(head)
        if head.kind == "features":
            num_names = 0
    for block in examined_blocks(size.num_test):
        total += cost_of("evaluation", num_contexts, len(block), num_names)  # the result
    return total + plan_zero_shot(size) if tests_zero_shot else total


def max_predictions(config: RunConfig) -> int | None:
    """Image predictions that `max_cost` pays for; None: any number."""
    price = config.price_per_thousand_predictions
    if config.max_cost is None or not price:
        return None
    return int(config.max_cost / price * 1000 + 1e-9)


def check_affordable(config: RunConfig, plan: Spending, what: str) -> None:
    """Refuse what may cost more than `max_cost`.

    Args:
        config: settings with the price.
        plan: what is spent at most.
        what: in words.

    Raises:
        ConfigError: says what it may cost.
    """
    most, price = max_predictions(config), config.price_per_thousand_predictions
    if most is None or price is None or plan.image_predictions <= most:
        return
    problem = (
        f"must pay for {what}, which may cost {money(plan.cost(price))}, but got "
        f"{money(config.max_cost or 0)}: "
        "fewer data.shots, data.views, head.names or max_queries cost less"
    )
    raise ConfigError("max_cost", [problem])
