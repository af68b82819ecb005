"""The trials of a search: which one won and why, what each tried, and what mattered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from craft_ray.classifiers.score import Score, score_together
from craft_ray.config.money import money
from craft_ray.config.variants import VARIANT
from craft_ray.reports.charts import colour, shares
from craft_ray.reports.page import dim, folded, points, seconds, section, share, table
from craft_ray.reports.parallel import Tried, parallel_coordinates

Trial = Mapping[str, Any]
"""As a summary has it."""
MIN_TRIED = 2
"""Trials with the same parameters from which on their lines are drawn."""


def colours_of(trials: Sequence[Trial]) -> dict[str, int]:
    """Method -> place of its colour."""
    methods = dict.fromkeys(str(trial["method"]) for trial in trials)
    return {method: place for place, method in enumerate(methods)}


def legend(colours: Mapping[str, int]) -> str:
    """Which colour is which method."""
    keys = [
        f'<span class="key"><i style="background: {colour(place)}"></i>{escape(method)}</span>'
        for method, place in colours.items()
    ]
    return f'<p class="small">{"".join(keys)}</p>'


def trial_table(summary: Mapping[str, Any], price: float | None) -> Iterator[str]:
    """All trials beside zero-shot, with what decided between them."""
    trials, best = summary["trials"], summary["best"]
    sizes = (summary["data"]["num_validation"], summary["data"]["num_train"])
    has_validation = bool(sizes[0])
    known = [trial for trial in trials if _deciding(trial) is not None]
    has_held_out = any(trial["held_out"] for trial in known)
    is_decided_together = (
        has_validation and has_held_out and all(trial["held_out"] for trial in known)
    )
    yield section("Trials")
    yield dim(_how_it_was_chosen(sizes, has_held_out, is_decided_together))
    head = ["trial", "method", *["validation"] * has_validation]
    head += ["held out"] * has_held_out + ["together"] * is_decided_together
    head += ["predictions an image", "queries"]
    head += ["cost"] * (price is not None) + ["time", "status"]
    zero_shot = summary["zero_shot"]
    cells = ["", "zero-shot", *[_accuracy(zero_shot["validation"])] * has_validation]
    cells += [_accuracy(score) if (score := zero_shot.get("held_out")) else ""] * has_held_out
    cells += [""] * is_decided_together
    rows = [[*cells, "1", "0", *[""] * (price is not None), "", ""]]
    place_of_best = None
    for place, trial in enumerate(trials, 1):
        if best is not None and trial["number"] == best["number"]:
            place_of_best = place
        validation, held_out = trial["validation"], trial["held_out"]
        cells = [f"{trial['number']}", escape(str(trial["method"]))]
        cells += [_accuracy(validation)] * has_validation
        if has_held_out:
            cells.append(_accuracy(held_out))
        if is_decided_together:
            both = None if validation is None else _both(validation, held_out, sizes)
            cells.append(share(both))
        predictions = (trial["objectives"] or {}).get("predictions_per_image")
        cells.append("-" if predictions is None else f"{predictions:.0f}")
        cells.append(f"{trial['ledger']['candidate_queries']:,}")
        if price is not None:
            cells.append(money(trial["ledger"]["image_predictions"] / 1000 * price))
        rows.append([*cells, seconds(trial["seconds"]), escape(str(trial["status"]))])
    if best is not None and (words := _why(best, known, sizes if is_decided_together else None)):
        yield f"<p>{escape(words)}</p>"
    yield table(head, rows, place_of_best, left=2)
    for trial in trials:
        if trial["error"]:
            words = f"trial {trial['number']} has failed: {trial['error']}"
            yield f'<p class="small down">{escape(words)}</p>'


def _how_it_was_chosen(sizes: tuple[int, int], has_held_out: bool, together: bool) -> str:
    words = ""
    if sizes[0]:
        words = f"Validation: accuracy on {sizes[0]:,} images that no trial was fitted to. "
    if has_held_out:
        words += (
            f"Held out: accuracy on the {sizes[1]:,} training images, each judged by a head that "
            "did not see it (- where that cannot be done). "
        )
    if together:
        words += "The best trial is the best on both together"
    elif not sizes[0]:
        words += "The best trial is the best on these"
    else:
        words += "The best trial is the best on validation"
    return f"{words}; the test images were asked about afterwards, for this page only."


def _why(best: Trial, known: Sequence[Trial], sizes: tuple[int, int] | None) -> str:
    """The best trial beside the one that comes closest; empty if it is alone.

    Args:
        best: the one that was chosen.
        known: all that have a result.
        sizes: numbers of validation and of training images, if both decided.
    """

    def deciding(trial: Trial) -> float:
        if sizes is None:
            score = _deciding(trial)
            return float("-inf") if score is None else float(score["accuracy"])
        return _both(trial["validation"], trial["held_out"], sizes)

    others = [trial for trial in known if trial["number"] != best["number"]]
    if not others or _deciding(best) is None:
        return ""
    nearest = max(others, key=deciding)
    ahead = deciding(best) - deciding(nearest)
    on = "validation" if best["validation"] is not None else "held-out images"
    on = on if sizes is None else "both together"
    words = f"Trial {best['number']} won with {share(deciding(best))} on {on}"
    if ahead > 0:
        return f"{words}, {points(ahead).lstrip('+')} before trial {nearest['number']}."
    if ahead == 0:  # `best_evidence`
        return f"{words}, as trial {nearest['number']} has; of equal ones the lower loss decides."
    return f"{words}; trial {nearest['number']} has {share(deciding(nearest))}."


def _deciding(trial: Trial) -> Mapping[str, float] | None:
    """On validation; without validation images on training images that were held out."""
    score: Mapping[str, float] | None = trial["validation"] or trial["held_out"]
    return score


def _accuracy(score: Mapping[str, float] | None) -> str:
    return share(None if score is None else score["accuracy"])


def _both(
    validation: Mapping[str, float], held_out: Mapping[str, float], sizes: tuple[int, int]
) -> float:
    """Accuracy on all images that a trial was not fitted to."""
    return score_together([Score(**validation), Score(**held_out)], sizes).accuracy


def tried_parameters(summary: Mapping[str, Any]) -> Iterator[str]:
    """What each trial tried, as lines and as a table."""
    groups: dict[tuple[str, ...], list[Trial]] = {}
    for trial in summary["trials"]:
        paths = tuple(path for path in trial["params"] if path != VARIANT)
        if paths:
            groups.setdefault(paths, []).append(trial)
    if not groups:
        return
    best = summary["best"] and summary["best"]["number"]
    parameters = summary["settings"].get("parameters", {})
    is_log = {path: each.get("kind") == "log_uniform" for path, each in parameters.items()}
    on = "validation" if summary["data"]["num_validation"] else "held-out images"
    yield section(
        "What the trials tried",
        "A line is a trial; it crosses each axis at the value that it tried, and ends at the "
        f"accuracy on {on}. The stronger, the better.",
    )
    for paths, trials in groups.items():
        methods = ", ".join(dict.fromkeys(escape(str(trial["method"])) for trial in trials))
        tried = [
            Tried(
                trial["number"],
                {path: trial["params"][path] for path in paths},
                float(score["accuracy"]),
                trial["number"] == best,
            )
            for trial in trials
            if (score := _deciding(trial)) is not None
        ]
        if len(tried) >= MIN_TRIED:
            yield f"<h3>{methods}, {len(tried)} trials</h3>"
            yield parallel_coordinates(tried, is_log, on)
        rows = [
            [
                f"{trial['number']}",
                *(escape(_value(trial["params"][path])) for path in paths),
                _accuracy(_deciding(trial)),
            ]
            for trial in trials
        ]
        place = next((i for i, each in enumerate(trials) if each["number"] == best), None)
        yield folded(
            f"values of {', '.join(dict.fromkeys(str(t['method']) for t in trials))}",
            table(["trial", *paths, on], rows, place),
        )


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def importances(summary: Mapping[str, Any]) -> Iterator[str]:
    """How much of the spread between the trials each parameter explains."""
    found = summary.get("importances")
    if not found:
        return
    yield section("Which parameter matters")
    data = summary["data"]
    num_images = data["num_validation"] or data["num_train"]
    of = f" of {found['variant']}" if found["variant"] else ""
    spread, resolved = (points(found[name]).lstrip("+") for name in ("spread", "resolved"))
    words = (
        f"{found['num_trials']} finished trials{of} lie {spread} apart, and "
        f"{num_images:,} images tell {resolved} from chance"
    )
    if not found["shares"]:
        yield f"<p>{escape(f'None is shown to matter: {words}.')}</p>"
        return
    errors = found.get("errors") or {}
    yield dim(
        f"{words}. Share of the spread that each explains (fANOVA)"
        + (", with its standard error (jackknife over the trials)." if errors else ".")
    )
    yield shares(
        [
            (path.split(".")[-1].replace("_", " "), value, errors.get(path))
            for path, value in found["shares"].items()
        ]
    )
