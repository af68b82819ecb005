"""What is said of a run's classifier beside it: how it was made, and how good it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from craft_ray.classifiers.about import SENT_AS_FILE, About, Measured, plain_view
from craft_ray.classifiers.evidence import Evidence
from craft_ray.classifiers.score import Score
from craft_ray.classifiers.verdict import ZeroShot, verdict
from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.method_names import method_name
from craft_ray.config.run import RunConfig
from craft_ray.metering.ledger import Spending
from craft_ray.oracle.contract import OracleDescription
from craft_ray.oracle.origin import origin_of
from craft_ray.task.preparation import FewShotData
from craft_ray.task.provenance import commit, manifest, versions
from craft_ray.tuners.findings import HeadFindings


@dataclass(frozen=True)
class Scores:
    """Of the classifier and of the untouched model.

    Attributes:
        zero_shot_validation: on the validation images; None: there are none.
        evidence: of the classifier, by which it was chosen.
        zero_shot_test, test: on the test images; None if nobody asked.
    """

    zero_shot_validation: Score | None
    evidence: Evidence
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
    words: str | None = None,
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
        words: what decided, where validation images did not.
    """
    origin = origin_of(config.oracle)
    price = config.price_per_thousand_predictions
    endpoint = config.oracle if isinstance(config.oracle, EndpointConfig) else None
    num_test = len(data.test)
    evidence = scores.evidence
    # Beside validation images they are a part of what was chosen by, and no figure of their own.
    is_held_out = evidence.validation is None
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
        zero_shot_validation=_measured(scores.zero_shot_validation, len(data.validation)),
        validation=_measured(evidence.validation, len(data.validation)),
        held_out=_measured(evidence.held_out, len(data.train)) if is_held_out else None,
        zero_shot_held_out=(
            _measured(evidence.zero_shot_held_out, len(data.train)) if is_held_out else None
        ),
        zero_shot_test=_measured(scores.zero_shot_test, num_test),
        test=_measured(scores.test, num_test),
        verdict=words or "",
        candidate_queries=spent.candidate_queries,
        image_predictions=spent.image_predictions,
        cost=cost,
        currency=endpoint.prices.currency if endpoint is not None and cost is not None else "",
        price_per_thousand_predictions=price,
        versions=versions(),
        commit=commit(),
    )


def verdict_on(
    config: RunConfig,
    data: FewShotData,
    evidence: Evidence,
    generation: int,
    findings: HeadFindings | None,
) -> str | None:
    """What decided for the state that a fine-tuning returns, if validation images did not.

    Args:
        config: its settings.
        data: its images.
        evidence: of the state.
        generation: after which it was there.
        findings: of the last head that was fitted to answers.
    """
    counts = Counter(item.label for item in data.train)
    zero_shot = None
    if findings is not None:
        right, trust = findings.zero_shot_right, findings.zero_shot_scale
        zero_shot = ZeroShot(right, trust, data.size.num_classes)
    return verdict(
        evidence,
        generation,
        num_training=len(data.train),
        images_a_class=min(counts.values(), default=0),
        rule=config.fidelity.selection,
        zero_shot=zero_shot,
        is_uneven=len(set(counts.values())) > 1,
    )


def _measured(score: Score | None, num_images: int) -> Measured | None:
    return None if score is None else Measured.of(score, num_images)
