"""What a run has left: what was asked, what came of it, and what of that its user is told."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from craft_ray.errors import ArtifactError, RunFailedError
from craft_ray.files.whole_files import read_json
from craft_ray.jobs.run_folder import SUMMARY_FILE
from craft_ray.metering.journal import spent_on_record
from craft_ray.metering.ledger import Spending

_PROGRESS = re.compile(
    r"Zero-shot: |Tuning, at most |At most \d+ trials? |\d+ trials?[, ]|For [\d,]+ quer|"
    r"The prompt that was found: |\s+generation \d|\s+trial \d"
)
_MISTAKE = re.compile(r"^error: (.*)", re.MULTILINE | re.DOTALL)
_OWNERS = re.compile(r"(?:ray|pool|oracle|output_dir|name|--resume|mlflow)[.:]")
"""How a message about a setting begins that no user of a service has set."""
TOLD = ("zero_shot", "tuned", "best", "importances", "ledger", "seconds", "data", "versions")
"""Of a summary, in the file of results; the rest names places of the owner's machine."""


def spending_of(folder: Path) -> Spending | None:
    """What the run in a folder has asked for, whatever became of it; None: nobody can tell."""
    try:
        if (folder / SUMMARY_FILE).is_file():
            return Spending.from_dict(read_json(folder / SUMMARY_FILE)["ledger"])
        total = Spending()
        for part in _parts_of(folder):
            total += spent_on_record(part)
        return total
    except (ArtifactError, RunFailedError, KeyError, ValueError, OSError):
        return None


def _parts_of(folder: Path) -> Iterator[Path]:
    yield folder
    yield folder / "worker"
    trials = folder / "trials"
    if trials.is_dir():
        yield from sorted(path for path in trials.iterdir() if path.is_dir())


def summary_of(folder: Path) -> dict[str, Any] | None:
    """Of a run that has a result; None: it has none."""
    try:
        summary = read_json(folder / SUMMARY_FILE)
    except (ArtifactError, OSError):
        return None
    return summary if found_in(summary) is not None else None


def found_in(summary: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What was found: the result of a run, or the best trial of a search."""
    found: Mapping[str, Any] | None = summary.get("tuned") or summary.get("best")
    return found


def told_of(summary: Mapping[str, Any]) -> dict[str, Any]:
    """For the job: the scores, what they are worth, what they were compared with."""
    found = found_in(summary) or {}
    return {
        "zero_shot": summary["zero_shot"],
        "validation": found.get("validation"),
        "held_out": found.get("held_out"),
        "judged_by": found.get("judged_by"),
        "verdict": found.get("verdict"),
        "candidate_queries": summary["ledger"]["candidate_queries"],
        "image_predictions": summary["ledger"]["image_predictions"],
        "failed_trials": summary.get("failed_trials"),
    }


def results_of(summary: Mapping[str, Any]) -> dict[str, Any]:
    """For the file of results."""
    trials = [
        {key: value for key, value in trial.items() if key != "error"}
        for trial in summary.get("trials", [])
    ]
    told = {key: summary[key] for key in TOLD if key in summary}
    return {**told, **({"trials": trials} if trials else {})}


def sentences_of(summary: Mapping[str, Any]) -> Iterator[str]:
    """What was found, in words."""
    found, before = found_in(summary) or {}, summary["zero_shot"]
    for split, words in (("validation", "on validation"), ("held_out", "on held-out images")):
        if found.get(split) and before.get(split):
            yield (
                f"Accuracy {found[split]['accuracy']:.1%} {words}, zero-shot "
                f"{before[split]['accuracy']:.1%}."
            )
    yield from (found.get("head") or {}).get("sentences", ())
    if verdict := found.get("verdict"):
        yield str(verdict)


def is_progress(line: str) -> bool:
    """Whether a line that a run prints is for its user; others tell of the machine."""
    return _PROGRESS.match(line) is not None


def users_mistake_in(output: str) -> str | None:
    """The message of an error in what a command has printed; None if there is none, or it is about
    what the owner decides, such as a cluster that does not answer."""
    found = _MISTAKE.search(output)
    if found is None or _OWNERS.match(found[1]):
        return None
    return found[1].strip()
