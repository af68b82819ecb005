"""What commands share that ask a model about each image once: settings, price, and the model."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from craft_ray.commands.asked_model import counted, note
from craft_ray.commands.planned_bill import PlannedBill
from craft_ray.commands.shorthand import Asked, about_model, check_given_once, model_words
from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.loading import load_run_config
from craft_ray.config.money import billed_money, money
from craft_ray.config.run import RunConfig
from craft_ray.config.shipped import DEFAULT_RUN
from craft_ray.errors import ConfigError

if TYPE_CHECKING:
    from craft_ray.metering.metered_oracle import MeteredOracle

SETTINGS = (
    *("head.names", "head.vocabulary", "data.template", "seed", "output_dir"),
    *("price_per_thousand_predictions", "max_cost", "answer_cache.folder", "answer_cache.max_mb"),
)
"""That may be typed beside those of the model, `oracle.KEY`."""


def asked_config(
    options: argparse.Namespace,
    words: Sequence[str],
    place: str,
    known: Sequence[str],
    also: Sequence[str] = (),
) -> RunConfig:
    """Which model is asked, and how. Everything that can be wrong with it is found here, before an
    image is read; nothing is asked.

    Args:
        options: of the command line, with those of `add_model_options`.
        words: settings `key=value`.
        place: where the images are, as it was typed.
        known: settings that may be typed beside `oracle.KEY`.
        also: what else may be typed, for the message.

    Raises:
        UserError: an option or a setting breaks a law, or the model cannot be asked.
    """
    for word in words:
        key = word.partition("=")[0]
        if "=" not in word or not (key.split(".")[0] == "oracle" or key in known):
            keys = ", ".join([*also, "oracle.KEY", *known])
            raise ConfigError("command line", [f"must be KEY=VALUE of {keys}, but got {word!r}"])
    meant = list(model_words(options))
    check_given_once(meant, words)
    config = load_run_config(DEFAULT_RUN, [*meant, *words])
    from craft_ray.oracle.usable import check_usable

    check_usable(config)
    for line in about_model(Asked(None, place, [*meant, *words])):
        note(line)
    return config


def tell_cost(config: RunConfig, what: str, num_images: int, num_names: int, remedy: str) -> None:
    """Say what is asked, and what it may cost.

    Args:
        config: which model is asked.
        what: it is asked for, the first word of the sentence.
        num_images: that are asked about.
        num_names: each with so many names; 0: for features.
        remedy: of who cannot pay for it.

    Raises:
        ConfigError: it may cost more than the budget.
    """
    model = config.oracle.model or "the endpoint"
    text = f"{what}: asking {model} about {counted(num_images, 'image')}, "
    text += f"1 prediction each with {num_names:,} names" if num_names else "for its features"
    if isinstance(config.oracle, EndpointConfig):
        from craft_ray.metering.planned_bill import asker_of, cost

        units = asker_of(config.oracle).about([num_images], num_names)
        may_cost = cost(units, config.oracle)
        amount = billed_money(may_cost, config.oracle.prices.currency)
        note(f"{text}.")
        note(PlannedBill(units, config.oracle).line())
    else:
        price = config.price_per_thousand_predictions
        may_cost = num_images / 1000 * (price or 0)
        amount = money(may_cost)
        note(f"{text}: costs {amount}." if price else f"{text}.")
    if config.max_cost is not None and may_cost > config.max_cost:
        problem = f"must pay for what is asked, which may cost {amount}, but got "
        problem += f"{config.max_cost:g}: {remedy}"
        raise ConfigError("max_cost (--budget)", [problem])


@contextmanager
def metered(config: RunConfig) -> Iterator[MeteredOracle]:
    """The model, in this process, with the kept answers that there are; at the end an endpoint's
    bill is told.

    Raises:
        OracleError: the model cannot be loaded, or the endpoint refuses.
        ConfigError: the endpoint's key is not there, or the folder of answers cannot be used.
    """
    from craft_ray.metering.answer_cache import open_answer_cache
    from craft_ray.metering.ledger import QueryLedger
    from craft_ray.metering.metered_oracle import MeteredOracle
    from craft_ray.oracle import loaded

    cache = open_answer_cache(config.answer_cache)
    try:
        place = loaded.place_of_answers(config.output_dir)
        oracle = loaded.load_here(config.oracle, place, config.max_cost)
        yield MeteredOracle(oracle, QueryLedger(0), cache=cache)
    finally:
        if cache is not None:
            cache.close()
    if (bill := getattr(oracle, "bill", None)) is not None:
        note(bill.sentence())
