"""What is said of a run's classifier beside it: how it was made, and how good it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from craft_ray.classifiers.about import SENT_AS_FILE, About, Measured, plain_view
from craft_ray.classifiers.score import Score
from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.method_names import method_name
from craft_ray.config.run import RunConfig
from craft_ray.metering.ledger import Spending
from craft_ray.oracle.contract import OracleDescription
from craft_ray.oracle.origin import origin_of
from craft_ray.task.preparation import FewShotData
from craft_ray.task.provenance import commit, manifest, versions


@dataclass(frozen=True)
class Scores:
    """Of the classifier and of the untouched model.

    Attributes:
        zero_shot_validation, validation: on the validation images.
        zero_shot_test, test: on the test images; None if nobody asked.
    """

    zero_shot_validation: Score
    validation: Score
    zero_shot_test: Score | None = None
    test: Score | None = None


def about_result(
    run: str,
    config: RunConfig,
    data: FewShotData,
    oracle: OracleDescription,
    scores: Scores,
    spent: Spending,
    cost: float | None = None,
) -> About:
    """For the classifier's card.

    Args:
        run: its name.
        config: of the fine-tuning that made the classifier.
        data: what it was tuned on.
        oracle: what the model's owner says of it.
        scores: of the classifier.
        spent: by the whole run.
        cost: of it; None: nobody has said a price.
    """
    origin = origin_of(config.oracle)
    price = config.price_per_thousand_predictions
    endpoint = config.oracle if isinstance(config.oracle, EndpointConfig) else None
    num_test = len(data.test)
    return About(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        run=run,
        seed=config.seed,
        method=method_name(config),
        data=data.dataset.name,
        num_train=len(data.train),
        manifest=manifest(data.train),
        source=origin.source,
        revision=origin.revision,
        computed_by=oracle.computed_by,
        image_size=oracle.image_size,
        image_mean=oracle.image_mean,
        image_std=oracle.image_std,
        view=SENT_AS_FILE if oracle.takes_files else plain_view(oracle.transform),
        zero_shot_validation=Measured.of(scores.zero_shot_validation, len(data.validation)),
        validation=Measured.of(scores.validation, len(data.validation)),
        zero_shot_test=scores.zero_shot_test and Measured.of(scores.zero_shot_test, num_test),
        test=scores.test and Measured.of(scores.test, num_test),
        candidate_queries=spent.candidate_queries,
        image_predictions=spent.image_predictions,
        cost=cost,
        currency=endpoint.prices.currency if endpoint is not None and cost is not None else "",
        price_per_thousand_predictions=price,
        versions=versions(),
        commit=commit(),
    )
