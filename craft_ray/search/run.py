"""A whole search: set up, tune, examine the best trial, write what was found."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.tune import TuneError
from rich.console import Console

from craft_ray.classifiers.verdict import judged_by
from craft_ray.config.method_names import trial_name
from craft_ray.config.run import RunConfig
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import ConfigError, RunFailedError, RunInterruptedError, last_words
from craft_ray.files.remote import Place
from craft_ray.jobs.bill import cost_of as cost_of_run
from craft_ray.jobs.experiment import Experiment, open_experiment
from craft_ray.jobs.live import waiting
from craft_ray.jobs.record import harmless, run_tags
from craft_ray.jobs.result import Scores, verdict_on
from craft_ray.jobs.run_folder import NUM_FAILED, is_finished
from craft_ray.jobs.run_report import dispensable
from craft_ray.jobs.single_run import tell_findings, zero_shot_scores
from craft_ray.jobs.tuned import read_selected, read_tuned
from craft_ray.metering.planned_spending import plan_run
from craft_ray.search.comparable import check_comparable
from craft_ray.search.display import SearchDisplay
from craft_ray.search.fewer_trials import why_fewer_trials
from craft_ray.search.importances import parameter_importances
from craft_ray.search.monitor import SearchMonitor
from craft_ray.search.optuna_search import make_search
from craft_ray.search.plan import dearest_runs, plan_search
from craft_ray.search.record import SearchKeys, record_search, search_params
from craft_ray.search.report import print_front, print_gain, print_importances, print_table, say
from craft_ray.search.results import TrialResult, best_of, front_of, read_results
from craft_ray.search.sharing import forget_answers, shared_probes
from craft_ray.search.study_file import STUDY_FILE, write_study
from craft_ray.search.trial import SearchJob
from craft_ray.search.trials_on_disk import check_states, has_ended, read_trials, trial_folder
from craft_ray.search.tuner import make_tuner
from craft_ray.search.warm_start import earlier_trials
from craft_ray.task.preparation import FewShotData
from craft_ray.task.vocabulary import extra_names
from craft_ray.tracking import tracked

PROGRESS_TIMEOUT_S = 5.0
STOPPING_S = 1.0
"""Between two generations a job hears that it is to stop; most take no longer."""


def run_search(
    space: SpaceConfig, data: FewShotData, folder: Place, console: Console
) -> dict[str, Any]:
    """Run or continue the search of `folder`; returns its summary.

    Raises:
        UserError: see `open_experiment` and `check_comparable`; a trial to start from, or to go on
            with, cannot be read; or not even one trial fits into the resources.
        RunInterruptedError: the user stopped it; `--resume` continues.
        RunFailedError: Ray or Tune were lost; `--resume` continues.
    """
    for config in dearest_runs(space):  # a mistake in a variant is none to find in a paid trial
        extra_names(config, data.dataset.class_names)
        data = data.described_for(config)
    check_comparable(space, data)
    begun = read_trials(folder)
    if len(begun) > space.trials:
        problem = f"trials >= {len(begun)} must hold, which {folder.name} has begun, but got"
        raise ConfigError("--resume", [f"{problem} {space.trials}"])
    check_states(folder, len(begun))
    search = make_search(space, data.size, folder, begun, earlier_trials(space))
    search.check_begun()
    with open_experiment(
        space.base,
        data,
        folder,
        console,
        max_jobs=space.max_concurrent_trials,
        cpus_beside=space.base.ray.cpus_per_trial,
        may_go_on=True,
        first=None if begun else _first_run(space),
    ) as experiment:
        number = experiment.slots.number
        trials = f"{space.trials} trial" + ("s" if space.trials > 1 else "")
        if space.max_total_queries is not None:
            trials = f"At most {trials} for {space.max_total_queries:,} queries"
        known = frozenset(n for n in range(1, len(begun) + 1) if has_ended(folder, n))
        before = f", of which {len(known)} have ended" if known else ""
        zero_shot = experiment.zero_shot
        words = "" if zero_shot is None else f"Zero-shot: {zero_shot.accuracy:.1%} on validation. "
        experiment.say(f"{words}{trials}{before}, {number} at a time:")
        board = experiment.slots.board
        monitor = SearchMonitor(
            _display(space, experiment, known),
            experiment.tracker,
            folder.name,
            space.resolve,
            lambda config: plan_run(config, data.size),
            known,
            on_end=lambda ended, keep: board.cancel.remote(str(ended), keep_result=keep),
        )
        search.has_ended = HasEnded(board)
        shared = shared_probes(space, experiment.prepared, folder)
        prepared = replace(experiment.prepared, shared_probes=shared)
        job = SearchJob(space, ray.put(prepared), experiment.pool, board, folder)
        tags = run_tags("tune", space.base, data.dataset.name)
        params = search_params(space)
        with tracked(experiment.tracker, monitor.keys.parent, folder.name, params, tags) as run:
            try:
                with monitor, tempfile.TemporaryDirectory(prefix="craft-ray-tune-") as scratch:
                    left_s = experiment.seconds_left
                    make_tuner(job, search, number, monitor, Path(scratch), left_s).fit()
                    monitor.end_open()
                _wait_for(board, monitor, console)
                results = read_results(folder, monitor.ended, monitor.errors)
                summary = _conclude(space, results, experiment, monitor.keys)
                if summary[NUM_FAILED]:
                    run.status = "FAILED"
                return summary
            except KeyboardInterrupt as error:
                words = f"{len(monitor.ended)} of {space.trials} trials have ended"
                raise RunInterruptedError(words) from error
            except (RayError, TuneError) as error:
                raise RunFailedError(f"{folder.name}: {last_words(error)}") from error
            finally:
                monitor.close_open()


def _display(space: SpaceConfig, experiment: Experiment, known: frozenset[int]) -> SearchDisplay:
    price, board = space.base.price_per_thousand_predictions, experiment.slots.board
    folders = (trial_folder(experiment.folder, number) for number in known)
    spent = sum((read_tuned(each).spent for each in folders), start=experiment.examiner.spent)

    def cost_of(predictions: int) -> float:
        if price is None:
            return cost_of_run(space.base, experiment.folder, spent) or 0.0
        return (spent.image_predictions + predictions) / 1000 * price

    is_priced = cost_of_run(space.base, experiment.folder, spent) is not None
    return SearchDisplay(
        experiment.console,
        space.trials,
        len(known),
        plan_search(space, experiment.data.size).candidate_queries,
        lambda: ray.get(board.progress.remote(), timeout=PROGRESS_TIMEOUT_S),
        cost_of if is_priced else None,
    )


def _first_run(space: SpaceConfig) -> RunConfig:
    """Of the first trial, as far as it is known."""
    return space.resolve(space.first_trials[0]) if space.first_trials else space.base


@dataclass(frozen=True)
class HasEnded:
    """Whether the job of a trial will write no result any more. Tune pickles it."""

    board: Any

    def __call__(self, number: int) -> bool:
        return bool(ray.get(self.board.has_ended.remote(str(number))))


def _wait_for(board: Any, monitor: SearchMonitor, console: Console) -> None:
    """Until no job of a trial that has ended runs: one that was stopped stores what it has."""
    ended = board.ended.remote([str(number) for number in monitor.ended])
    if not ray.wait([ended], timeout=STOPPING_S)[0]:
        with waiting(console, "Waiting for what the scheduler has stopped"):
            ray.wait([ended])
    ray.get(ended)


def _conclude(
    space: SpaceConfig,
    trials: Sequence[TrialResult],
    experiment: Experiment,
    keys: SearchKeys,
) -> dict[str, Any]:
    """Show the trials, test the best of them, and write the summary."""
    best = best_of(trials, *experiment.prepared.evidence_sizes)
    if best is None and space.base.time_limit_s is not None and not any(t.error for t in trials):
        problem = f"no trial came to a result in time_limit_s={space.base.time_limit_s:g}"
        raise RunFailedError(f"{problem}: more time is needed")
    key = keys.parent
    console, zero_shot = experiment.console, experiment.zero_shot
    evidence = None if best is None else best.evidence
    before = zero_shot
    if before is None and evidence is not None:
        before = evidence.zero_shot_held_out
    print_table(console, space, zero_shot, trials, best)
    print_gain(console, before, trials, best)
    name = experiment.folder.name
    if (why := why_fewer_trials(space, experiment.data.size, trials, name)) is not None:
        say(console, why)
    results: dict[str, Any] = {
        "zero_shot": zero_shot_scores(zero_shot, evidence),
        "trials": [
            {**trial.as_dict(), "method": trial_name(space, trial.params)} for trial in trials
        ],
        NUM_FAILED: sum(trial.status == "failed" for trial in trials),
        "best": None,
        **_compare(space, trials, experiment),
    }
    classifiers = []
    if best is not None:
        selected = read_selected(trial_folder(experiment.folder, best.number))
        classifiers.append(selected.classifier)
        experiment.keep(selected.classifier)
    zero_shot_test, *tests = experiment.test(*classifiers)
    results["zero_shot"]["test"] = zero_shot_test and asdict(zero_shot_test)
    total = sum((trial.tuned.spent for trial in trials), start=experiment.examiner.spent)
    for test in tests:
        assert best is not None
        scores = Scores(zero_shot, selected.evidence, zero_shot_test, test)
        config, findings = space.resolve(best.params), best.tuned.findings
        verdict = verdict_on(
            config, experiment.data, selected.evidence, selected.generation, findings
        )
        told = tell_findings(experiment, best.tuned)
        method = trial_name(space, best.params)
        experiment.deliver(selected.classifier, key, config, scores, total, verdict, told, method)
        template = selected.classifier.template
        results["best"] = {**best.as_dict(), "test": test and asdict(test)}
        results["best"]["template"] = template
        results["best"]["judged_by"] = judged_by(selected.evidence)
        results["best"]["verdict"] = verdict
        results["best"]["head"] = told
    results["pool"] = experiment.report_pool(key)
    results["retried_chunks"] = sum(trial.tuned.retried_chunks for trial in trials)
    curves = {trial.number: trial.tuned.curve for trial in trials}
    with dispensable(experiment.folder / STUDY_FILE, experiment.say):
        write_study(space, trials, experiment.folder)
    summary = experiment.write_summary(results, total, space.model_dump(mode="json"), curves)
    if space.base.mlflow.enabled:  # images are read for it
        with harmless():
            record_search(space, experiment, summary, trials, best, keys)
    if is_finished(experiment.folder):
        forget_answers(experiment.folder)
    return summary


def _compare(
    space: SpaceConfig, trials: Sequence[TrialResult], experiment: Experiment
) -> dict[str, Any]:
    """What the trials say together; printed, and for the summary."""
    num_validation, num_training = experiment.prepared.evidence_sizes
    num_images, kind = num_validation, "validation"
    if not num_validation:
        num_images, kind = num_training, "held-out"
    importances = parameter_importances(space, trials, num_images)
    print_importances(experiment.console, importances, num_images, kind)
    compared = {"importances": importances and importances.as_dict()}
    if len(space.objectives) == 1:
        return compared
    front = front_of(trials, space.objectives)
    print_front(experiment.console, front, space.objectives)
    return {**compared, "pareto_front": [trial.number for trial in front]}
