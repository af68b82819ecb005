"""A whole search: set up, tune, examine the best trial, write what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from optuna.trial import FrozenTrial
from rich.console import Console

from craft_ray.config.documents import flatten
from craft_ray.config.method_names import trial_name
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import RunFailedError, RunInterruptedError
from craft_ray.files.remote import Place
from craft_ray.jobs.experiment import Experiment, open_experiment
from craft_ray.jobs.resources import concurrent_trials
from craft_ray.jobs.run_folder import NUM_FAILED
from craft_ray.pool.keeper import cluster_nodes
from craft_ray.pool.placement import place_trials
from craft_ray.search.full_disk import full_disk_log
from craft_ray.search.importances import parameter_importances
from craft_ray.search.monitor import SearchMonitor
from craft_ray.search.optuna_search import budget_of
from craft_ray.search.report import print_front, print_gain, print_importances, print_table
from craft_ray.search.results import TrialResult, best_of, front_of, read_results
from craft_ray.search.trial import SearchJob
from craft_ray.search.tuner import is_begun, make_tuner
from craft_ray.search.warm_start import earlier_trials
from craft_ray.task.preparation import FewShotData
from craft_ray.tuners.state import load_state, selected_in

TRIALS_FOLDER = "trials"


def run_search(
    space: SpaceConfig, data: FewShotData, folder: Place, console: Console
) -> dict[str, Any]:
    """Run or continue the search of `folder`; returns its summary.

    Raises:
        UserError: see `open_experiment`; a trial to start from cannot be read; or not even one
            trial fits into the resources.
        RunInterruptedError: the user stopped it; `--resume` continues.
        RunFailedError: the disk was full; `--resume` continues when it no longer is.
    """
    earlier = [] if is_begun(folder) else earlier_trials(space)
    with open_experiment(space.base, data, folder, console) as experiment:
        place = place_trials(space.base, cluster_nodes())
        concurrency = concurrent_trials(
            space.base, space.max_concurrent_trials, place.num_replicas, place.num_cpus
        )
        return _search(space, experiment, concurrency, earlier)


def _search(
    space: SpaceConfig, experiment: Experiment, concurrency: int, earlier: Sequence[FrozenTrial]
) -> dict[str, Any]:
    folder, tracker, examiner = experiment.folder, experiment.tracker, experiment.examiner
    zero_shot = examiner.validate(examiner.zero_shot)
    trials_to_run = f"{space.trials} trials"
    if space.max_total_queries is not None:
        trials_to_run = f"At most {trials_to_run} for {space.max_total_queries:,} queries"
    experiment.say(
        f"Zero-shot: {zero_shot.accuracy:.1%} on validation. {trials_to_run}, "
        f"{concurrency} at a time:"
    )
    monitor = SearchMonitor(experiment.console, tracker, folder.name, space.base.max_queries)
    settings = {"trials": space.trials, **flatten(space.base.model_dump(mode="json"))}
    tracker.open(monitor.parent_key, folder.name, settings)
    job = SearchJob(space, experiment.prepared, experiment.pool, folder / TRIALS_FOLDER)
    with monitor, full_disk_log() as full_disk:
        grid = make_tuner(job, folder, concurrency, monitor, earlier).fit()
    if full_disk.error is not None and monitor.failed:
        # What the trials have stored is not all that they have done: nothing to be examined.
        tracker.close(monitor.parent_key, "FAILED")
        raise RunFailedError(
            f"{folder}: must be writable, but: {full_disk.error.strerror}; "
            f"{len(monitor.failed)} of {space.trials} trials did not complete: "
            f"{', '.join(map(str, monitor.failed))}; details are in {full_disk.path}"
        )
    trials = read_results(grid, folder, job.storage_path)
    if monitor.num_ended < (len(trials) if _is_spent(space, trials) else space.trials):
        tracker.close(monitor.parent_key, "KILLED")
        raise RunInterruptedError(f"{monitor.num_ended} of {space.trials} trials have ended")
    best = best_of(trials, *experiment.prepared.evidence_sizes)
    print_table(experiment.console, space, zero_shot, trials, best)
    print_gain(experiment.console, zero_shot, trials, best)
    results: dict[str, Any] = {
        "zero_shot": {"validation": asdict(zero_shot)},
        "trials": [
            {**trial.as_dict(), "method": trial_name(space, trial.params)} for trial in trials
        ],
        NUM_FAILED: sum(trial.status == "failed" for trial in trials),
        "best": None,
        **_compare(space, trials, experiment),
    }
    classifiers = [examiner.zero_shot]
    if best is not None and best.checkpoint is not None:
        classifiers.append(selected_in(load_state(best.checkpoint)).classifier)
        experiment.deliver(classifiers[-1], monitor.parent_key)
    tests = examiner.test(classifiers)
    results["zero_shot"]["test"] = asdict(tests[0])
    if best is not None and len(tests) > 1:
        results["best"] = {**best.as_dict(), "test": asdict(tests[1])}
        accuracies = {
            "zero_shot_test_accuracy": tests[0].accuracy,
            "best_test_accuracy": tests[1].accuracy,
        }
        tracker.log(monitor.parent_key, [{"generation": 0, **accuracies}])
    results["pool"] = experiment.report_pool(monitor.parent_key)
    tracker.close(monitor.parent_key, "FINISHED")
    results["retried_chunks"] = sum(trial.retried_chunks for trial in trials)
    total = sum((trial.spent for trial in trials), start=examiner.spent)
    return experiment.write_summary(results, total, space.model_dump(mode="json"))


def _is_spent(space: SpaceConfig, trials: Sequence[TrialResult]) -> bool:
    """Whether what is left of the search's budget pays for no further trial."""
    budget = budget_of(space)
    if budget is None:
        return False
    failed = [trial for trial in trials if trial.status == "failed"]
    spent = sum(trial.spent.candidate_queries for trial in trials if trial not in failed)
    return not budget.affords_trial(spent, len(failed))


def _compare(
    space: SpaceConfig, trials: Sequence[TrialResult], experiment: Experiment
) -> dict[str, Any]:
    """What the trials say together; printed, and for the summary."""
    num_validation, _ = experiment.prepared.evidence_sizes
    importances = parameter_importances(space, trials, num_validation)
    print_importances(experiment.console, importances, num_validation)
    compared = {"importances": importances and importances.as_dict()}
    if len(space.objectives) == 1:
        return compared
    front = front_of(trials, space.objectives)
    print_front(experiment.console, front, space.objectives)
    return {**compared, "pareto_front": [trial.number for trial in front]}
