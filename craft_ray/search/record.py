"""What MLflow is told of a search: its space, and at the end its trials and the best of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from craft_ray.config.distributions import Choice, Distribution
from craft_ray.config.documents import flatten
from craft_ray.config.space import SpaceConfig
from craft_ray.jobs.experiment import Experiment
from craft_ray.jobs.record import (
    all_inputs,
    describe_result,
    record_end,
    record_model,
    run_params,
)
from craft_ray.search.results import TrialResult
from craft_ray.tracking.vocabulary import score_metrics, spent_metrics, step_of

OF_THE_SEARCH = ("trials", "max_concurrent_trials", "max_total_queries")


@dataclass(frozen=True)
class SearchKeys:
    """Under which the tracker knows a search and its trials."""

    run_name: str

    @property
    def parent(self) -> str:
        """Of the search itself."""
        return f"{self.run_name}/search"

    def of(self, number: int) -> str:
        """Of a trial."""
        return f"{self.run_name}/{number}"


def search_params(space: SpaceConfig) -> dict[str, Any]:
    """The space, how it is walked, and the settings of the base, as parameters."""
    document = space.model_dump(mode="json")
    walked = flatten({name: document[name] for name in ("sampler", "scheduler")})
    own = {name: document[name] for name in OF_THE_SEARCH if document[name] is not None}
    searched = {f"space.{name}": _in_words(each) for name, each in space.parameters.items()}
    if space.variants:
        own["variants"] = ", ".join(space.variants)
    return {
        **own,
        "objectives": ", ".join(space.objectives),
        **walked,
        **searched,
        **run_params(space.base),
    }


def record_search(
    space: SpaceConfig,
    experiment: Experiment,
    summary: Mapping[str, Any],
    trials: Sequence[TrialResult],
    best: TrialResult | None,
    keys: SearchKeys,
) -> None:
    """After the summary is written.

    Args:
        space: of the search.
        experiment: whose tracker is told.
        summary: of the search.
        trials: all.
        best: of them.
        keys: of the tracker's runs.
    """
    tracker, config, key = experiment.tracker, space.base, keys.parent
    every = all_inputs(config, experiment.data)
    inputs = [each for each in every if each.context != "test"]
    zero_shot = score_metrics("zero_shot", summary["zero_shot"]["validation"])
    zero_shot |= score_metrics("zero_shot_held_out", summary["zero_shot"]["held_out"])
    tests = score_metrics("zero_shot_test", summary["zero_shot"]["test"])
    chosen: dict[str, float] = {}
    if best is not None:
        tests |= score_metrics("test", summary["best"]["test"])
        chosen = _scores_of(best)
    for trial in trials:
        is_best = best is not None and trial.number == best.number
        metrics = {**_spent_by(trial, config.price_per_thousand_predictions), **zero_shot}
        metrics |= _scores_of(trial) | (tests if is_best else {})
        own = keys.of(trial.number)
        tracker.log(own, [{"step": _last_step(trial), **metrics}])
        tracker.log_inputs(own, every if is_best else inputs)
        about = {"best": str(is_best).lower(), "status": trial.status}
        tracker.tag(own, {**about, "data": experiment.data.dataset.name})
    total = step_of(summary["ledger"]["candidate_queries"], len(trials))
    counts = {"trials": float(len(trials)), "trials_failed": float(summary["failed_trials"])}
    tracker.log(key, [{"step": total, **zero_shot, **tests, **chosen, **counts}])
    tracker.log_inputs(key, every)
    words, tags = "", {}
    if best is not None:
        method = next(t["method"] for t in summary["trials"] if t["number"] == best.number)
        page = f"{{run:{keys.of(best.number)}}}"
        words = f": [trial {best.number}, {method}]({page})"
        if best.deciding is not None:
            on = "validation" if best.validation is not None else "held-out training images"
            words += f", {best.deciding.accuracy:.1%} on {on}"
        tags = {"best_trial": str(best.number), "method": method}
    note = describe_result(summary, summary["best"], words, config)
    tracker.tag(key, {**tags, "mlflow.note.content": note})
    record_end(tracker, key, experiment.folder, summary, config, total)
    if best is not None:
        names = experiment.prepared.class_names
        scores = {**chosen, **tests}
        made_by = space.resolve(best.params)
        record_model(tracker, key, experiment.folder, names, scores, made_by)


def _scores_of(trial: TrialResult) -> dict[str, float]:
    if trial.evidence is None:
        return {}
    validation, held_out = trial.validation, trial.evidence.held_out
    return {
        **score_metrics("val", None if validation is None else asdict(validation)),
        **score_metrics("held_out", None if held_out is None else asdict(held_out)),
    }


def _spent_by(trial: TrialResult, price: float | None) -> dict[str, float]:
    spent = trial.tuned.spent
    cost = None if price is None else spent.cost(price)
    return spent_metrics(spent.as_dict(), cost, trial.tuned.seconds)


def _last_step(trial: TrialResult) -> int:
    last = trial.tuned.last
    return 0 if last is None else step_of(last["candidate_queries"], last["generation"])


def _in_words(distribution: Distribution) -> str:
    """A distribution in one line: what is sampled, and where."""
    if isinstance(distribution, Choice):
        text = ", ".join(map(str, distribution.values))
    else:
        text = f"{distribution.kind} {distribution.low} to {distribution.high}"
    conditions = [
        f"{name} is {' or '.join(map(str, values))}" for name, values in distribution.when.items()
    ]
    return f"{text} where {' and '.join(conditions)}" if conditions else text
