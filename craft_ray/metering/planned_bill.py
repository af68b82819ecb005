"""What a run may ask an endpoint for, from its settings alone: requests, images, texts and pairs.

An endpoint answers a question once: an image's feature, a text's feature, or the scores of an image
with texts that are sent together. What is asked again is known, and costs nothing, so that the bill
counts what is different, while the ledger of queries counts what is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.heads import ResidualMlpConfig
from craft_ray.config.money import billed_money
from craft_ray.config.run import RunConfig
from craft_ray.errors import ConfigError
from craft_ray.metering.planned_spending import (
    ALONE,
    DataSize,
    SharedSize,
    examined_blocks,
    plan_driver,
    plan_run,
    plan_test,
    plan_zero_shot,
)
from craft_ray.oracle.endpoints.capabilities import Capabilities
from craft_ray.oracle.gate.bill import PARTS_OF_COST, BilledUnits, PriceList
from craft_ray.oracle.remote.adapters import fits_scale
from craft_ray.oracle.remote.opening import capabilities_of

TOKENS_OF_TEXT = 20
"""A prompt with a class name, roughly: how many tokens it has, only the endpoint knows."""


@dataclass(frozen=True)
class Asker:
    """Counts what an endpoint is asked.

    Attributes:
        capabilities: of the endpoint.
        tokens_per_image: if the settings say it.
    """

    capabilities: Capabilities
    tokens_per_image: int | None = None

    @property
    def gives_features(self) -> bool:
        """Whether images and texts are asked about apart."""
        return {"image_features", "text_features"} <= self.capabilities.answers

    @property
    def takes_contexts(self) -> bool:
        """Whether it is asked by soft prompts."""
        return "soft" in self.capabilities.prompts

    def about(self, sets: Sequence[int], num_texts: int) -> BilledUnits:
        """The images of all sets with all texts, at most. A request has images of one set only.

        Args:
            sets: number of images in each.
            num_texts: that they are compared with.
        """
        limits = self.capabilities.limits
        # How many bytes an image has, nobody knows here: one may fill a request.
        most = limits.images if limits.bytes is None else 1
        requests = sum(_times(num_images, most) for num_images in sets)
        num_images = sum(sets)
        if self.gives_features:
            texts = self._units(_times(num_texts, limits.texts), 0, num_texts, 0)
            return self._units(requests, num_images, 0, 0) + texts
        chunks, labels = self._label_chunks(num_texts)
        sent = requests * labels
        return self._units(requests * chunks, num_images * chunks, sent, num_images * labels)

    def _label_chunks(self, num_texts: int) -> tuple[int, int]:
        """Requests that one image with all texts needs, and labels in all of them: chunks of joint
        scores share an anchor."""
        most = self.capabilities.limits.labels
        if most is None or num_texts <= most:
            return 1, num_texts
        if not self.capabilities.joint_over_labels:
            return _times(num_texts, most), num_texts
        chunks = _times(num_texts - 1, most - 1)
        return chunks, num_texts - 1 + chunks

    def _units(self, requests: int, images: int, texts: int, pairs: int) -> BilledUnits:
        tokens = images * (self.tokens_per_image or 0) + texts * TOKENS_OF_TEXT
        return BilledUnits(requests, images, texts, pairs, tokens)


def asker_of(config: EndpointConfig) -> Asker:
    """Of an endpoint.

    Raises:
        OracleError: its settings do not fit its dialect.
    """
    return Asker(capabilities_of(config), config.tokens_per_image)


def price_list(config: EndpointConfig) -> PriceList:
    """What the endpoint charges."""
    return PriceList(capabilities_of(config).prices)


def cost(units: BilledUnits, config: EndpointConfig) -> float:
    """In the currency of the endpoint's prices."""
    return price_list(config).cost_of(units) / PARTS_OF_COST


def plan_driver_bill(config: RunConfig, size: DataSize) -> BilledUnits:
    """What is asked beside the tuning: zero-shot on validation and test images, and on training
    images where a temperature must be fitted; and the result on test images."""
    asker = asker_of(_endpoint(config))
    if asker.takes_contexts:
        before = plan_driver(config, size).image_predictions
        before -= plan_test(config, size).image_predictions
        return BilledUnits(pairs=before * size.num_classes) + plan_test_bill(config, size)
    num_names = _num_names(config, size)
    tests = [len(block) for block in examined_blocks(size.num_test)]
    if asker.gives_features:
        num_views = 0 if config.data.views == "fresh" else config.data.views
        sets = [size.num_validation, *[size.num_train] * (1 + num_views), *tests]
        sets += [size.num_unlabelled] * bool(size.num_unlabelled)
        if not any(sets):
            return BilledUnits()
        return asker.about(sets, size.num_classes)  # the result's names are the trial's
    sets = [size.num_validation, *tests]
    if fits_scale(_endpoint(config)):
        sets.append(size.num_train)
    zero_shot = asker.about(sets, size.num_classes)
    if not tests or (num_names == size.num_classes and config.method == "head"):
        return zero_shot  # the result corrects the same scores
    return zero_shot + asker.about(tests, num_names)


def plan_test_bill(config: RunConfig, size: DataSize) -> BilledUnits:
    """Of that, what is asked at the end: zero-shot and the result on test images."""
    if not size.num_test:
        return BilledUnits()
    asker = asker_of(_endpoint(config))
    num_names = _num_names(config, size)
    if asker.takes_contexts:
        zero_shot = plan_zero_shot(size).image_predictions
        result = plan_test(config, size).image_predictions - zero_shot
        return BilledUnits(pairs=zero_shot * size.num_classes + result * num_names)
    tests = [len(block) for block in examined_blocks(size.num_test)]
    if asker.gives_features:
        return asker.about(tests, num_names)
    return asker.about(tests, size.num_classes) + asker.about(tests, num_names)


def plan_trial_bill(config: RunConfig, size: DataSize, shared: SharedSize = ALONE) -> BilledUnits:
    """What one fine-tuning asks beside the driver.

    Args:
        config: settings of the run.
        size: of its data.
        shared: with the other trials of its search, of which none has asked before it.
    """
    asker = asker_of(_endpoint(config))
    num_names = _num_names(config, size, shared)
    if not size.num_train:
        return _plan_untouched(config, size, asker, num_names)
    if asker.takes_contexts:
        return BilledUnits(pairs=plan_run(config, size).image_predictions * num_names)
    units = _plan_views(config, size, asker, num_names)
    if config.method != "head":  # each query may be another template
        units += _times_units(asker.about([size.num_train], num_names), config.max_queries, asker)
        evaluations = -(-config.num_generations // config.evaluate_every_generations)
        units += _times_units(asker.about([size.num_validation], num_names), evaluations, asker)
    return units


def plan_run_bill(config: RunConfig, size: DataSize) -> BilledUnits:
    """All of a single run."""
    return plan_driver_bill(config, size) + plan_trial_bill(config, size)


def _plan_untouched(config: RunConfig, size: DataSize, asker: Asker, num_names: int) -> BilledUnits:
    """Without training images: the texts of the head's offset, on validation images."""
    asks = num_names > size.num_classes
    if asker.takes_contexts:
        return BilledUnits(pairs=plan_run(config, size).image_predictions * num_names)
    if asks and asker.gives_features and (size.num_validation or size.num_test):
        return asker.about([], num_names)  # images are the driver's to send
    if not (asks and size.num_validation):
        return BilledUnits()
    return asker.about([size.num_validation], num_names)


def _plan_views(config: RunConfig, size: DataSize, asker: Asker, num_names: int) -> BilledUnits:
    views = config.data.views
    if views == "fresh":
        views = config.num_generations if isinstance(config.head, ResidualMlpConfig) else 0
        if asker.gives_features:
            return asker.about([size.num_train] * views, num_names)
    if asker.gives_features:
        return asker.about([], num_names)  # images are the driver's to send
    sets = [*[size.num_train] * (1 + views), size.num_validation]
    sets += [size.num_unlabelled] * bool(size.num_unlabelled)
    return asker.about(sets, num_names)


def _times_units(units: BilledUnits, times: int, asker: Asker) -> BilledUnits:
    """Other texts, of the same images: their features are known."""
    images = 0 if asker.gives_features else units.images
    return BilledUnits(
        units.requests * times,
        images * times,
        units.texts * times,
        units.pairs * times,
        (images * (asker.tokens_per_image or 0) + units.texts * TOKENS_OF_TEXT) * times,
    )


def _num_names(config: RunConfig, size: DataSize, shared: SharedSize = ALONE) -> int:
    """Classes, and the names beside them that an image is asked about."""
    head = config.probing_head
    if head is None:
        return size.num_classes
    if not size.num_train:
        return size.num_classes + size.num_prompts(head)
    more = max(shared.num_names - head.num_names, 0) if config.method == "head" else 0
    return size.num_texts(head) + (0 if head.kind == "features" else more)


def _endpoint(config: RunConfig) -> EndpointConfig:
    assert isinstance(config.oracle, EndpointConfig)
    return config.oracle


def check_bill_affordable(config: RunConfig, units: BilledUnits, what: str) -> None:
    """Refuse what may cost more than `max_cost`.

    Raises:
        ConfigError: says what it may cost.
    """
    endpoint = _endpoint(config)
    most = config.max_cost
    if most is None or (may_cost := cost(units, endpoint)) <= most:
        return
    currency = endpoint.prices.currency
    problem = (
        f"must pay for {what}, which may cost {billed_money(may_cost, currency)}, but got "
        f"{billed_money(most, currency)}: fewer data.shots, data.views, head.names or max_queries "
        "cost less"
    )
    raise ConfigError("max_cost", [problem])


def _times(number: int, most: int | None) -> int:
    """Requests that so many need."""
    if most is None:
        return min(number, 1)
    return -(-number // most)
