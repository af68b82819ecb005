"""What a search prints at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from craft_ray.classifiers.score import Score
from craft_ray.config.method_names import trial_name
from craft_ray.config.sampling import Objective
from craft_ray.config.space import SpaceConfig
from craft_ray.config.variants import VARIANT
from craft_ray.search.importances import Importances
from craft_ray.search.results import TrialResult

HELD_OUT = (
    "held out: accuracy on training images that a linear head did not see, {}; "
    "per image: predictions that a new image costs"
)
FORMATS: dict[Objective, str] = {
    "accuracy": "{:.1%}",
    "queries": "{:,.0f}",
    "calibration_error": "{:.3f}",
    "predictions_per_image": "{:.0f}",
}


def print_table(
    console: Console,
    space: SpaceConfig,
    zero_shot: Score | None,
    results: Sequence[TrialResult],
    best: TrialResult | None,
) -> None:
    """Zero-shot and every trial: method, accuracies, predictions that a new image costs, queries,
    seconds and status; then the parameters of those that have the same ones, as all of them do not
    fit into 80 columns."""
    outcomes = Table("trial", "method", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("val", "held out", "per image", "queries", "s"):
        outcomes.add_column(column, justify="right")
    outcomes.add_column("status")
    held_out = best and best.evidence and best.evidence.zero_shot_held_out
    shown = _percent(held_out) if held_out and zero_shot is None else ""
    outcomes.add_row("", "zero-shot", _percent(zero_shot), shown, "1", "0", "", "")
    groups: dict[tuple[str, ...], list[TrialResult]] = {}
    for result in results:
        outcomes.add_row(
            f"{result.number}",
            escape(trial_name(space, result.params)),
            _percent(result.validation),
            _held_out(result),
            f"{result.objectives['predictions_per_image']:.0f}" if result.objectives else "-",
            f"{result.tuned.spent.candidate_queries:,}",
            f"{result.tuned.seconds:.0f}",
            escape(result.status),
            style=_style(result, best),
        )
        paths = tuple(path for path in result.params if path != VARIANT)
        groups.setdefault(paths, []).append(result)
    console.print(outcomes)
    if any(result.evidence and result.evidence.held_out for result in results):
        say(console, HELD_OUT.format("which decides" if zero_shot is None else "counts beside val"))
    for paths, group in groups.items():
        if paths:
            console.print(_parameters(paths, group, best))


def _parameters(
    paths: Sequence[str], group: Sequence[TrialResult], best: TrialResult | None
) -> Table:
    table = Table("trial", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for path in paths:
        table.add_column(escape(short_name(path, paths)), justify="right", overflow="fold")
    for result in group:
        values = [escape(_format(result.params[path])) for path in paths]
        table.add_row(f"{result.number}", *values, style=_style(result, best))
    return table


def say(console: Console, text: str) -> None:
    """A sentence: in a terminal it fits into the window, in a log it is one line."""
    console.print(text, highlight=False, markup=False, soft_wrap=not console.is_terminal)


def _percent(score: Score | None) -> str:
    return "-" if score is None else f"{score.accuracy:.1%}"


def _held_out(result: TrialResult) -> str:
    evidence = result.evidence
    if evidence is None or evidence.held_out is None:
        return ""
    return f"{evidence.held_out.accuracy:.1%}"


def _style(result: TrialResult, best: TrialResult | None) -> str | None:
    return "bold green" if result is best else None


def print_gain(
    console: Console,
    zero_shot: Score | None,
    results: Sequence[TrialResult],
    best: TrialResult | None,
) -> None:
    """What all trials together paid, for what on validation; or, without validation images, on
    held-out training images.

    Args:
        console: where to print.
        zero_shot: on the same images.
        results: of all trials.
        best: of them.
    """
    queries = sum(result.tuned.spent.candidate_queries for result in results)
    if best is None or best.deciding is None or zero_shot is None:
        say(console, f"For {_queries(queries)} no trial has a result.")
        return
    accuracy = best.deciding.accuracy
    gains = [f"{100 * (accuracy - zero_shot.accuracy):+.1f} points over zero-shot"]
    first = results[0]
    if first is not best and first.deciding is not None:
        gains.append(
            f"{100 * (accuracy - first.deciding.accuracy):+.1f} over trial {first.number}, which "
            f"took {first.tuned.spent.candidate_queries:,}"
        )
    elif first is best and len(results) > 1:
        gains.append(
            f"all of them by trial {first.number}, for {first.tuned.spent.candidate_queries:,}"
        )
    on = "validation" if best.validation is not None else "held-out training images"
    say(console, f"For {_queries(queries)} the search gained {', '.join(gains)} ({on}).")


def _queries(number: int) -> str:
    return f"{number:,} candidate {'query' if number == 1 else 'queries'}"


def short_name(path: str, paths: Sequence[str]) -> str:
    """The last part of a parameter's path, where that is unique, broken into lines."""
    leaf = path.split(".")[-1]
    is_unique = sum(other.split(".")[-1] == leaf for other in paths) == 1
    return (leaf if is_unique else path.replace(".", "\n")).replace("_", "\n")


def _format(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def print_front(
    console: Console, front: Sequence[TrialResult], objectives: Sequence[Objective]
) -> None:
    """The trials that no other dominates, and their values."""
    table = Table("Pareto front", box=box.SIMPLE_HEAD)
    for name in objectives:
        table.add_column(name.replace("_", " "), justify="right")
    for trial in front:
        assert trial.objectives is not None
        values = [FORMATS[name].format(trial.objectives[name]) for name in objectives]
        table.add_row(f"trial {trial.number}", *values)
    console.print(table)


def print_importances(
    console: Console, importances: Importances | None, num_images: int, kind: str = "validation"
) -> None:
    """One sentence, with what is noise beside it.

    Args:
        console: where to print.
        importances: of the parameters, if there are some.
        num_images: that trials are compared by.
        kind: of these images, in a word or two.
    """
    if importances is None:
        return
    trials = f"{importances.num_trials} trials"
    if importances.variant is not None:
        trials += f" of {importances.variant}"
    spread = f"{100 * importances.spread:.1f} points"
    resolved = f"{100 * importances.resolved:.1f}"
    if importances.shares is None:
        say(
            console,
            f"No parameter is shown to matter: {trials} differ by {spread}, and "
            f"{num_images} {kind} images resolve {resolved}.",
        )
        return
    errors = importances.errors or {}
    shares = ", ".join(
        f"{path} {share:.0%}" + (f" ± {100 * errors[path]:.0f}" if path in errors else "")
        for path, share in importances.shares.items()
    )
    say(
        console,
        f"Importance for the {kind} accuracy ({trials}, {spread} apart; {num_images} "
        f"images resolve {resolved}): {shares}.",
    )
